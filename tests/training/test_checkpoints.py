from __future__ import annotations

import errno
import json
import logging
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from recsys.evaluation.validation_set import FILE as VALIDATION
from recsys.files import WriteError
from recsys.train import train as train_configured
from recsys.training.checkpoints import CheckpointFiles, DamagedCheckpointError, read_checkpoint
from tests.commands import Train, copy_run, run_config, train_arguments
from tests.test_train import Killed, kill_at, metrics

pytestmark = pytest.mark.long

CONTENT = {"state_dict": {"rows": torch.arange(2000.0)}, "epoch": 3}


def empty(file: Path) -> None:
    file.write_bytes(b"")


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip(file: Path) -> None:
    """Change one bit in the middle of the largest array, which `torch.load` does not notice."""
    with zipfile.ZipFile(file) as archive:
        largest = max(archive.infolist(), key=lambda entry: entry.file_size)
    content = bytearray(file.read_bytes())
    lengths = content[largest.header_offset + 26 : largest.header_offset + 30]  # of the name and of what follows it
    start = largest.header_offset + 30 + int.from_bytes(lengths[:2], "little") + int.from_bytes(lengths[2:], "little")
    content[start + largest.file_size // 2] ^= 1
    file.write_bytes(content)


def overwrite(file: Path) -> None:
    file.write_text("no checkpoint\n")


def other(file: Path) -> None:
    torch.save([1], file)


DAMAGES = pytest.mark.parametrize("damage", [empty, cut, flip, overwrite, other])


def test_a_checkpoint_is_written_in_its_folder_and_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run" / "last.ckpt"
    files = CheckpointFiles(path)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "elsewhere"))
    files.save_checkpoint(CONTENT, path)
    assert torch.equal(read_checkpoint(path)["state_dict"]["rows"], CONTENT["state_dict"]["rows"])
    replace = Path.replace

    def killed(self: Path, target: Path) -> None:
        assert self.parent == target.parent
        raise Killed

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(Killed):
        files.save_checkpoint(CONTENT | {"epoch": 4}, path)
    monkeypatch.setattr(Path, "replace", replace)
    assert read_checkpoint(path)["epoch"] == 3
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "last.ckpt"
    files = CheckpointFiles(path)
    files.save_checkpoint(CONTENT, path)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(WriteError, match=r"cannot write .*last.ckpt: No space left on device; free some space"):
        files.save_checkpoint(CONTENT | {"epoch": 4}, path)
    assert read_checkpoint(path)["epoch"] == 3


def test_the_one_before_is_kept_of_what_is_resumed_from(tmp_path: Path) -> None:
    files = CheckpointFiles(tmp_path / "last.ckpt")
    for epoch in range(3):
        for name in ("best.ckpt", "last.ckpt"):
            files.save_checkpoint(CONTENT | {"epoch": epoch}, tmp_path / name)
    assert {file.name: read_checkpoint(file)["epoch"] for file in tmp_path.iterdir()} == {
        "best.ckpt": 2, "last.ckpt": 2, "last.former.ckpt": 1,
    }  # fmt: skip


@DAMAGES
def test_a_damaged_checkpoint_is_named(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    path = tmp_path / "last.ckpt"
    torch.save(CONTENT, path)
    assert read_checkpoint(path)["epoch"] == 3
    damage(path)
    with pytest.raises(DamagedCheckpointError, match=r"last\.ckpt is damaged \(.+\)") as error:
        read_checkpoint(path)
    assert "\n" not in str(error.value)


def test_no_flipped_bit_is_overlooked(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    torch.save({"state_dict": {"rows": torch.arange(9.0)}}, path)
    content = path.read_bytes()
    for place in range(0, len(content), 13):
        path.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        try:
            found = read_checkpoint(path)
        except DamagedCheckpointError:
            continue
        assert torch.equal(found["state_dict"]["rows"], torch.arange(9.0))


SETTINGS = ("model.dropout=0.3", "trainer.max_epochs=5", "callbacks.early_stopping.patience=9")


@pytest.fixture
def killed_in(quick_train: Train, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Train until a stage's fourth epoch is checkpointed (`select` or `refit`) and die there."""

    def run(stage: str, *settings: str, epoch: int = 3, name: str = "cut") -> None:
        with monkeypatch.context() as patch:
            kill_at(patch, ModelCheckpoint, "on_train_epoch_end", stage, epoch, [])
            with pytest.raises(Killed):
                quick_train(*settings, name=name)

    return run


@pytest.mark.parametrize(
    ("stage", "damaged", "used"),
    [
        ("select", ["last.ckpt"], "goes on from last.former.ckpt"),
        ("select", ["last.ckpt", "last.former.ckpt"], "goes on from best.ckpt"),
        ("select", ["last.ckpt", "last.former.ckpt", "best.ckpt"], "starts again"),
        ("refit", ["refit_train_val.ckpt"], "goes on from refit_train_val.former.ckpt"),
        ("refit", ["refit_train_val.ckpt", "refit_train_val.former.ckpt", "selection.json", "last.ckpt"], "again"),
    ],
)
def test_a_run_whose_checkpoints_are_damaged_goes_on_to_the_same_end(
    quick_train: Train, trained: Train, tmp_path: Path, caplog: pytest.LogCaptureFixture,
    killed_in: Callable[..., None], stage: str, damaged: list[str], used: str,
) -> None:  # fmt: skip
    killed_in(stage, *SETTINGS, epoch=3 if stage == "select" else 1)
    folder = tmp_path / "cut"
    for name, damage in zip(damaged, [flip, cut, empty, overwrite], strict=False):
        damage(folder / "checkpoints" / name)
    with caplog.at_level(logging.WARNING):
        quick_train(f"resume={folder}", name="cut")
    found = [record.getMessage() for record in caplog.records if "training" in record.getMessage()]
    assert len(found) == len({"select": damaged[:1], "refit": damaged[::3]}[stage])
    assert f"{folder / 'checkpoints' / damaged[0]} is damaged (" in found[-1]
    assert used in found[-1]
    whole = trained(*SETTINGS)
    assert metrics(folder) == metrics(whole)
    assert (folder / "metrics.csv").read_text() == (whole / "metrics.csv").read_text()
    assert not list(folder.glob("checkpoints/*former*"))


def incomplete(file: Path) -> None:
    """Also of the selection, such that it looks as if the fit had not ended."""
    flip(file)
    file.with_name("selection.json").write_text("{}")


def of_other_types(file: Path) -> None:
    """As a file of another program, or of a stranger."""
    flip(file)
    file.with_name("selection.json").write_text('{"learning_rates": [{"x": 1}], "figures": {}, "seconds": 0}')


@pytest.mark.parametrize("damage", [flip, Path.unlink, incomplete, of_other_types])
@pytest.mark.parametrize("refit", ["none", "train_val"])
def test_a_damaged_best_checkpoint_is_selected_again_if_it_is_needed(
    quick_train: Train, trained: Train, tmp_path: Path, caplog: pytest.LogCaptureFixture,
    damage: Callable[[Path], None], refit: str,
) -> None:  # fmt: skip
    whole = trained(*SETTINGS, f"refit={refit}")
    folder = copy_run(whole, tmp_path / "run")
    damage(folder / "checkpoints" / "best.ckpt")
    for name in ("metrics.json", "status.json"):
        (folder / name).unlink()
    quick_train(f"resume={folder}")
    assert metrics(folder) == metrics(whole)
    assert ("the model is selected again" in caplog.text) == (refit == "none")


def test_validation_predictions_are_made_again_or_said_to_be_missing(
    quick_train: Train, trained: Train, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = trained(*SETTINGS)
    for name, damage in (("whole", lambda file: None), ("damaged", cut)):
        folder = copy_run(whole, tmp_path / name)
        damage(folder / "checkpoints" / "best.ckpt")
        for file in ("metrics.json", "status.json", VALIDATION):
            (folder / file).unlink()
        quick_train(f"resume={folder}", name=name)
        assert metrics(folder) == metrics(whole)
        assert (folder / VALIDATION).exists() == (name == "whole")
        assert (f"whose {VALIDATION} is missing" in caplog.text) == (name == "damaged")
    assert (tmp_path / "whole" / VALIDATION).read_bytes() == (whole / VALIDATION).read_bytes()


CHAIN = ("model=bayesian_mf", "model.embedding_dim=2", "model.burn_in=1", "model.thin=1", "trainer.max_epochs=4")


@pytest.mark.parametrize(("refit", "stage", "name"), [("none", "select", "train"), ("train_val", "refit", "train_val")])
def test_a_chain_whose_samples_are_cut_short_is_drawn_again(
    small_ratings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    refit: str, stage: str, name: str,
) -> None:  # fmt: skip
    monkeypatch.setenv("RECSYS_CACHE", str(small_ratings.with_name("cache")))
    given = [text for text in train_arguments(small_ratings, tmp_path) if text.startswith(("data", "hydra"))]

    def run(folder: Path, *more: str) -> None:
        train_configured(run_config(*given, *CHAIN, f"refit={refit}", *more), folder)

    run(tmp_path / "whole")
    with monkeypatch.context() as patch:
        kill_at(patch, ModelCheckpoint, "on_train_epoch_end", stage, 2, [])
        with pytest.raises(Killed):
            run(tmp_path / "cut")
    samples = tmp_path / "cut" / "checkpoints" / f"samples_{name}.bin"
    samples.write_bytes(samples.read_bytes()[: samples.stat().st_size // 4])
    run(tmp_path / "cut", f"resume={tmp_path / 'cut'}")
    assert f"{samples} has 0 of its 2 samples): training starts again" in caplog.text
    assert metrics(tmp_path / "cut") == metrics(tmp_path / "whole")


def test_a_run_resumed_in_another_place_remembers_its_best_epoch(tmp_path: Path) -> None:
    path = tmp_path / "here" / "last.ckpt"
    files = CheckpointFiles(path)
    best = {"best_model_path": "/old/best.ckpt", "kth_best_model_path": "/old/best.ckpt", "last_model_path": ""}
    state = best | {"dirpath": "/old", "best_k_models": {"/old/best.ckpt": torch.tensor(0.5)}}
    files.save_checkpoint(CONTENT | {"callbacks": {"ModelCheckpoint": state, "other": {"epochs": []}}}, path)
    found = files.load_checkpoint(path, weights_only=True)["callbacks"]["ModelCheckpoint"]
    new = str(path.with_name("best.ckpt"))
    assert found == {
        "dirpath": str(path.parent), "best_model_path": new, "kth_best_model_path": new, "last_model_path": "",
        "best_k_models": {new: torch.tensor(0.5)},
    }  # fmt: skip


def test_damaged_figures_are_made_again(quick_train: Train, trained: Train, tmp_path: Path) -> None:
    whole = trained(*SETTINGS)
    for number, damage in enumerate((empty, cut, overwrite, lambda file: file.write_text("{}"))):
        folder = copy_run(whole, tmp_path / str(number))
        damage(folder / "metrics.json")
        damage(folder / "status.json")
        quick_train(f"resume={folder}", name=str(number))
        assert metrics(folder) == metrics(whole)
        assert json.loads((folder / "status.json").read_text())["state"] == "finished"


def test_a_checkpoint_lets_no_other_file_be_removed(tmp_path: Path) -> None:
    """Lightning removes what a checkpoint's state names as the best so far, wherever it is."""
    folder, other = tmp_path / "run" / "checkpoints", tmp_path / "thesis.ckpt"
    folder.mkdir(parents=True)
    other.write_text("years of work")
    named = f"{folder}/../../thesis.ckpt"
    state = {"dirpath": str(folder), "best_model_path": named, "kth_best_model_path": named, "last_model_path": named,
             "best_k_models": {named: torch.tensor(1.0)}}  # fmt: skip
    files = CheckpointFiles(folder / "last.ckpt")
    torch.save({"state_dict": {}, "callbacks": {"ModelCheckpoint": state}}, folder / "last.ckpt")
    read = files.load_checkpoint(folder / "last.ckpt", weights_only=True)["callbacks"]["ModelCheckpoint"]
    inside = str(folder / "thesis.ckpt")
    assert {read["best_model_path"], read["kth_best_model_path"], read["last_model_path"], *read["best_k_models"]} == {
        inside
    }
    for path in (named, str(other), f"file://{other}", f"{folder}/..", "s3://bucket/x"):
        files.remove_checkpoint(path)
    assert other.exists()
    (folder / "best.ckpt").write_text("x")
    files.remove_checkpoint(str(folder / "best.ckpt"))
    assert [path.name for path in folder.iterdir()] == ["last.ckpt"]


def test_a_compressed_checkpoint_is_no_checkpoint(tmp_path: Path) -> None:
    """A small one may hold more zeros than memory does."""
    with zipfile.ZipFile(tmp_path / "last.ckpt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(1 << 20))
    with pytest.raises(DamagedCheckpointError, match=r"archive/data\.pkl is compressed"):
        read_checkpoint(tmp_path / "last.ckpt")


def packed(file: Path) -> None:
    """The same members, compressed."""
    with zipfile.ZipFile(file) as archive:
        members = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def sparse(file: Path) -> None:
    with file.open("r+b") as content:
        content.truncate(20 << 30)


def expanded(file: Path) -> None:
    torch.save({"state_dict": {"rows": torch.zeros(1).expand(10**12)}}, file)


def made_of_nothing(file: Path) -> None:
    torch.save({"state_dict": {}, "rows": bytearray(10)}, file)


def long_objects(file: Path) -> None:
    torch.save({"state_dict": {}, "rows": [[] for _ in range(1_000_000)]}, file)


def shared(file: Path) -> None:
    """Lists of lists that hold each other twice: 2^60 of them to whoever looks at each."""
    rows: list[object] = [1]
    for _ in range(60):
        rows = [rows, rows]
    torch.save({"state_dict": {}, "rows": rows}, file)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (packed, "is compressed"),
        (sparse, "it is mostly a hole"),
        (expanded, "a tensor that is larger than what is stored of it"),
        (made_of_nothing, "it makes a bytearray"),
        (long_objects, "data.pkl has .* bytes, more than"),
    ],
)
def test_a_checkpoint_that_asks_for_more_than_its_size(
    make: Callable[[Path], None], reason: str, tmp_path: Path
) -> None:
    torch.save(CONTENT, tmp_path / "last.ckpt")
    make(tmp_path / "last.ckpt")
    with pytest.raises(DamagedCheckpointError, match=f"last.ckpt is damaged .*{reason}"):
        read_checkpoint(tmp_path / "last.ckpt")


def test_a_checkpoint_whose_lists_are_shared(tmp_path: Path) -> None:
    shared(tmp_path / "last.ckpt")
    assert set(read_checkpoint(tmp_path / "last.ckpt")) == {"state_dict", "rows"}
