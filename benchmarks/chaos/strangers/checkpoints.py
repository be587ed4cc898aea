"""In checkpoints, and in what else of a run is read as numbers."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.chaos.strangers.scene import Planted, Scene, payload, write_json


class Command:
    """Runs a command where it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


def rewritten(scene: Scene, changes: dict[str, Any]) -> Planted:
    """Save the checkpoint with other content, pickled as any Python object is, and resume."""
    file = scene.run / "checkpoints" / "last.ckpt"
    content = torch.load(file, weights_only=True)
    torch.save(content | changes, file)
    return scene.resume()


def every_checkpoint(scene: Scene, content: bytes) -> Planted:
    for name in ("last.ckpt", "last.former.ckpt", "best.ckpt", "refit_train_val.ckpt"):
        (scene.run / "checkpoints" / name).write_bytes(content)
    return scene.resume()


@payload()
def pickle_in_a_checkpoint(scene: Scene) -> Planted:
    return rewritten(scene, {"hyper_parameters": Command(scene.shell)})


@payload()
def pickle_among_the_states_of_callbacks(scene: Scene) -> Planted:
    return rewritten(scene, {"callbacks": {"EarlyStopping": Command(scene.shell)}})


@payload()
def plain_pickle_for_a_checkpoint(scene: Scene) -> Planted:
    return every_checkpoint(scene, pickle.dumps(Command(scene.shell)))


@payload()
def checkpoint_of_the_first_torch(scene: Scene) -> Planted:
    content = io.BytesIO()
    torch.save({"state_dict": Command(scene.shell)}, content, _use_new_zipfile_serialization=False)
    return every_checkpoint(scene, content.getvalue())


@payload()
def archive_with_two_pickles(scene: Scene) -> Planted:
    """Readers of archives differ in which of two members of a name they take."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"state_dict": {}}, 2))
        archive.writestr("archive/DATA.PKL", pickle.dumps(Command(scene.shell), 2))
        archive.writestr("archive/../data.pkl", pickle.dumps(Command(scene.shell), 2))
        archive.writestr("archive/version", "3\n")
    return every_checkpoint(scene, content.getvalue())


@payload()
def whole_model_in_a_checkpoint(scene: Scene) -> Planted:
    return rewritten(scene, {"model": torch.nn.Linear(1, 1), "x": Command(scene.shell)})


@payload()
def numpy_pickle_in_a_checkpoint(scene: Scene) -> Planted:
    return rewritten(scene, {"loops": np.array([Command(scene.shell)], dtype=object)})


@payload()
def class_to_import_in_the_hyper_parameters(scene: Scene) -> Planted:
    (scene.run / "evil_module.py").write_text(f"import os\nos.system({scene.shell!r})\n")
    return rewritten(scene, {"hyper_parameters": {"_instantiator": "evil_module.make"}, "hparams_name": "kwargs"})


def _best(scene: Scene, out: str) -> Planted:
    """Let the states of ModelCheckpoint name another file, which Lightning removes when there is a better one."""
    file, worst = scene.run / "checkpoints" / "last.ckpt", torch.tensor(1e9)
    content = torch.load(file, weights_only=True)
    for name, state in content["callbacks"].items():
        if "ModelCheckpoint" in name:
            state.update(
                best_model_path=out, kth_best_model_path=out, last_model_path=out, best_k_models={out: worst},
                kth_value=worst, best_model_score=worst,
            )  # fmt: skip
    torch.save(content, file)
    return scene.resume()


@payload()
def best_checkpoint_out_of_the_folder(scene: Scene) -> Planted:
    return _best(scene, f"{scene.run}/checkpoints/../../home/thesis.ckpt")


@payload()
def best_checkpoint_is_a_folder_at_home(scene: Scene) -> Planted:
    return _best(scene, f"{scene.run}/checkpoints/../../home/mail")


@payload()
def best_checkpoint_at_another_place(scene: Scene) -> Planted:
    return _best(scene, f"file://{scene.home}/thesis.ckpt")


@payload()
def selection_of_another_kind(scene: Scene) -> Planted:
    content = {"learning_rates": [{"_target_": "os.system"}], "figures": {}, "seconds": 0}
    write_json(scene.run / "checkpoints" / "selection.json", content)
    return scene.resume()


@payload()
def pickled_array_for_the_curve(scene: Scene) -> Planted:
    content = io.BytesIO()
    np.save(content, np.array([Command(scene.shell)], dtype=object), allow_pickle=True)
    (scene.run / "metrics.csv").write_bytes(content.getvalue())
    return [*scene.resume(), ("report", str(scene.run))]


@payload()
def pickle_of_hydra(scene: Scene) -> Planted:
    """Hydra keeps its configuration as a pickle where its callback for that is set, and starts again from there."""
    folder = scene.run / ".hydra"
    folder.mkdir()
    (folder / "config.pickle").write_bytes(pickle.dumps(Command(scene.shell)))
    (folder / "overrides.yaml").write_text(f"- model._target_=os.system\n- +model.command={scene.shell}\n")
    hydra = {"hydra": {"callbacks": {"x": {"_target_": "os.system", "command": scene.shell}}}}
    write_json(folder / "hydra.yaml", hydra)
    scene.change("config.yaml", hydra)
    return scene.resume()


@payload()
def modules_in_the_run_folder(scene: Scene) -> Planted:
    for name in ("sitecustomize", "usercustomize", "torch", "socket", "conftest"):
        (scene.run / f"{name}.py").write_text(f"import os\nos.system({scene.shell!r})\n")
    (scene.run / ".env").write_text("HYDRA_FULL_ERROR=1\n")
    (scene.run / "hydra_plugins").mkdir()
    (scene.run / "hydra_plugins" / "evil.py").write_text(f"import os\nos.system({scene.shell!r})\n")
    return [*scene.resume(), ("report", str(scene.run))]


def git_of(folder: Path, command: str) -> None:
    """A repository whose configuration runs a command at most of what git does."""
    (folder / ".git" / "objects").mkdir(parents=True)
    (folder / ".git" / "refs").mkdir()
    (folder / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    (folder / ".git" / "config").write_text(
        f"[core]\n\trepositoryformatversion = 0\n\tfsmonitor = {command}\n\tpager = {command}\n"
        f'[diff]\n\texternal = {command}\n[alias]\n\tdescribe = "!{command}"\n'
    )


@payload()
def git_in_the_run_folder(scene: Scene) -> Planted:
    git_of(scene.run, scene.shell)
    return scene.resume()
