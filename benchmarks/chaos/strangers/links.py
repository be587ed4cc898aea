"""Links in a run's folder, by which what a command writes would go elsewhere."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from benchmarks.chaos.strangers.scene import SETTINGS, Planted, Scene, payload, write_json


def linked(scene: Scene, name: str, target: Path) -> Planted:
    """Put a link in the place of a file or folder of the run, and resume."""
    path = scene.run / name
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.symlink_to(target)
    return scene.resume()


@payload()
def metrics_link_to_a_file(scene: Scene) -> Planted:
    return linked(scene, "metrics.json", scene.home / ".bashrc")


@payload()
def status_links_to_a_file(scene: Scene) -> Planted:
    return linked(scene, "status.json", scene.home / ".bashrc")


@payload()
def log_links_to_a_file(scene: Scene) -> Planted:
    return linked(scene, "train.log", scene.home / ".bashrc")


@payload()
def log_links_to_a_new_file(scene: Scene) -> Planted:
    return linked(scene, "train.log", scene.home / ".profile")


@payload()
def curve_links_to_a_file(scene: Scene) -> Planted:
    return linked(scene, "metrics.csv", scene.home / ".bashrc")


@payload()
def picture_links_to_a_file(scene: Scene) -> Planted:
    return linked(scene, "learning_curve.png", scene.home / ".bashrc")


@payload()
def lock_links_to_a_file(scene: Scene) -> Planted:
    return linked(scene, ".lock", scene.home / ".bashrc")


@payload()
def checkpoints_link_to_a_folder(scene: Scene) -> Planted:
    shutil.copytree(scene.run / "checkpoints", scene.run / "kept")
    return linked(scene, "checkpoints", scene.home / "mail")


@payload()
def checkpoint_links_to_a_file(scene: Scene) -> Planted:
    return linked(scene, "checkpoints/refit_train_val.ckpt", scene.home / "thesis.ckpt")


@payload()
def selection_links_to_a_file(scene: Scene) -> Planted:
    return linked(scene, "checkpoints/selection.json", scene.home / ".bashrc")


@payload()
def bundle_links_to_a_folder(scene: Scene) -> Planted:
    return linked(scene, "bundle", scene.home / "mail")


@payload()
def configuration_links_to_a_file(scene: Scene) -> Planted:
    """The typed command goes on in the folder."""
    (scene.run / "config.yaml").unlink()
    (scene.run / "config.yaml").symlink_to(scene.home / ".profile")
    return [("train", *SETTINGS, f"data.root={scene.data}", f"hydra.run.dir={scene.run}")]


@payload("finished")
def report_links_to_a_file(scene: Scene) -> Planted:
    (scene.run / "report.html").symlink_to(scene.home / ".bashrc")
    return [("report", str(scene.run))]


@payload()
def log_is_another_name_of_a_file(scene: Scene) -> Planted:
    (scene.run / "train.log").unlink(missing_ok=True)
    os.link(scene.home / ".bashrc", scene.run / "train.log")
    return scene.resume()


@payload()
def lock_is_another_name_of_a_file(scene: Scene) -> Planted:
    (scene.run / ".lock").unlink(missing_ok=True)
    os.link(scene.home / ".bashrc", scene.run / ".lock")
    return scene.resume()


@payload()
def checkpoint_is_another_name_of_a_file(scene: Scene) -> Planted:
    os.link(scene.home / "thesis.ckpt", scene.run / "checkpoints" / "refit_train_val.ckpt")
    return scene.resume()


@payload()
def repeats_elsewhere(scene: Scene) -> Planted:
    write_json(scene.run / "repeats.json", {"runs": ["../home", "seed=1", "/etc"]})
    (scene.run / "seed=1").symlink_to(scene.home)
    return scene.resume()


@payload()
def remains_of_a_killed_process(scene: Scene) -> Planted:
    """Names that tell who wrote a partial file, with a link under one."""
    (scene.run / "....00000000-1-00000000.former").mkdir()
    (scene.run / ".x.00000000-1-00000000.partial").symlink_to(scene.home)
    (scene.run / "..%2e%2e.00000000-1-00000000.former").symlink_to(scene.home)
    for path in scene.run.glob(".*-1-*"):
        os.utime(path, (0, 0), follow_symlinks=False)
    return scene.resume()


@payload()
def results_of_wandb_elsewhere(scene: Scene) -> Planted:
    return linked(scene, "wandb", scene.home / "mail")
