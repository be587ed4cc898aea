"""Checkpoint files: written whole, verified when they are read, and the one before for when the last is damaged."""

from __future__ import annotations

import io
import logging
import os
import pickletools
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from recsys.files import atomic_write, is_hollow, open_regular
from recsys.models.base import RatingModel
from recsys.progress import printable

log = logging.getLogger(__name__)

LAST, BEST = "last.ckpt", "best.ckpt"
PICKLE_BYTES = 2 << 20  # of a checkpoint's objects without the numbers of its tensors: a hundred times what they have
FORMER = ".former.ckpt"  # ends the name of a checkpoint's predecessor


class DamagedCheckpointError(ValueError):
    """A checkpoint cannot be read, or does not fit what lies beside it; the message names the file and the reason."""


class CheckpointFiles(TorchCheckpointIO):
    """Lightning's way to files: whole or absent, in the folder itself.

    Lightning's own writes to the folder for temporary files, and copies from there if that is another file system: a
    kill, or a full disk, then leaves half a checkpoint.

    Args:
        resumed: The checkpoint to resume from; the one that it replaces is kept until the run is finished.
    """

    def __init__(self, resumed: Path) -> None:
        self.resumed = Path(os.path.realpath(resumed))

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        content = io.BytesIO()
        torch.save(checkpoint, content)
        path = Path(path)
        with atomic_write(path) as partial:
            partial.write_bytes(content.getbuffer())
            if Path(os.path.realpath(path)) == self.resumed and path.exists():
                _keep_former(path)

    def load_checkpoint(self, path: str | Path, *args: Any, **kwargs: Any) -> dict[str, Any]:
        checkpoint = super().load_checkpoint(path, *args, **kwargs)
        for state in checkpoint.get("callbacks", {}).values():
            if isinstance(state, dict) and isinstance(state.get("dirpath"), str):
                _move_paths(state, Path(os.path.realpath(path)).parent)
        return checkpoint

    def remove_checkpoint(self, path: str | Path) -> None:
        """Remove a file of the folder; a checkpoint's state may name any other path, which is left alone."""
        path = Path(path)
        if Path(os.path.realpath(path.parent)) == self.resumed.parent and not path.is_dir():
            path.unlink(missing_ok=True)


def former(checkpoint: Path) -> Path:
    """The file of the checkpoint's predecessor."""
    return checkpoint.with_name(checkpoint.stem + FORMER)


def remove_formers(folder: Path) -> None:
    """Remove the predecessors of all checkpoints, which a finished run does not need."""
    for path in folder.glob(f"*{FORMER}"):
        path.unlink(missing_ok=True)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint's content on the CPU; every byte is verified, since `torch.load` compares no checksums.

    Raises:
        DamagedCheckpointError: It is not whole.
        FileNotFoundError: It does not exist.
    """
    try:
        if is_hollow(path):
            raise zipfile.BadZipFile("it is mostly a hole")
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            _check_sizes(archive, os.fstat(file.fileno()).st_size)
            if (name := archive.testzip()) is not None:
                raise zipfile.BadZipFile(f"the checksum of {name} is wrong")
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except FileNotFoundError:
        raise
    except Exception as error:  # what is flipped or cut off may raise anything
        reason = (
            "it is empty" if path.is_file() and not path.stat().st_size else printable(str(error).partition("\n")[0])
        )
        raise DamagedCheckpointError(f"{path} is damaged ({reason.rstrip('.')})") from error
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        raise DamagedCheckpointError(f"{path} is damaged (it has no state_dict)")
    if not _is_plain(checkpoint):
        raise DamagedCheckpointError(f"{path} is damaged (it has a tensor that is larger than what is stored of it)")
    return checkpoint


def _check_sizes(archive: zipfile.ZipFile, size: int) -> None:
    """Refuse what training never writes: members that are packed or share bytes, and objects that make much of little.

    Raises:
        BadZipFile: There is such a member; says which.
    """
    stored = 0
    for member in archive.infolist():
        stored += member.file_size
        if member.compress_type != zipfile.ZIP_STORED:
            raise zipfile.BadZipFile(f"{member.filename} is compressed")
        if stored > size:
            raise zipfile.BadZipFile(f"its members claim {stored:,} bytes of {size:,}")
        if Path(member.filename).name != "data.pkl":
            continue
        if member.file_size > PICKLE_BYTES:
            raise zipfile.BadZipFile(f"{member.filename} has {member.file_size:,} bytes, more than {PICKLE_BYTES:,}")
        for code, argument, _ in pickletools.genops(archive.read(member)):
            if code.name == "GLOBAL" and str(argument).endswith(("bytearray", "_rebuild_sparse_tensor")):
                raise zipfile.BadZipFile(f"it makes a {str(argument).rpartition(' ')[2]}")


def _is_plain(content: Any) -> bool:
    """Whether each tensor in it is as large as what is stored of it; an expanded one has any size for a few bytes."""
    level, seen = [content], set[int]()  # what a list holds twice is looked at once
    while level:
        new = {id(value): value for value in level if id(value) not in seen}
        found = [value for value in new.values() if isinstance(value, dict | list | tuple | torch.Tensor)]
        seen.update(map(id, found))
        tensors = [value for value in found if isinstance(value, torch.Tensor)]
        if not all(value.layout == torch.strided and _is_stored(value) for value in tensors):
            return False
        inner = [
            value.values() if isinstance(value, dict) else value
            for value in found
            if not isinstance(value, torch.Tensor)
        ]
        level = [one for values in inner for one in values]
    return True


def _is_stored(tensor: torch.Tensor) -> bool:
    return tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()


def usable_checkpoint(path: Path, model: RatingModel) -> dict[str, Any]:
    """A checkpoint's content, from which the model can go on; see `read_checkpoint`.

    Raises:
        DamagedCheckpointError: It is not whole, or a file that it needs is not.
        FileNotFoundError: It does not exist.
    """
    checkpoint = read_checkpoint(path)
    if (reason := model.missing_artifact(checkpoint)) is not None:
        raise DamagedCheckpointError(f"{path} cannot be used ({reason})")
    return checkpoint


def load_best(model: RatingModel, folder: Path) -> None:
    """Load the best epoch's state into a model; raises as `usable_checkpoint`."""
    load_state(model, folder / BEST)


def load_state(model: RatingModel, path: Path) -> None:
    """Load a checkpoint's state into a model, whose precision becomes its own; raises as `usable_checkpoint`."""
    checkpoint = usable_checkpoint(path, model)
    state = checkpoint["state_dict"]
    if any(state[name].dtype == torch.float64 for name, _ in model.named_parameters() if name in state):
        model.double()
    model.on_load_checkpoint(checkpoint)
    model.load_state_dict(state)


def newest_usable(checkpoint: Path, model: RatingModel) -> Path | None:
    """The checkpoint, or if it is damaged the one before it, or the best one; None: start again. Says so."""
    candidates = [checkpoint, former(checkpoint)]
    if not any(path.exists() for path in candidates):
        return None
    if checkpoint.name == LAST:
        candidates.append(checkpoint.with_name(BEST))
    damaged = ""
    for path in candidates:
        try:
            usable_checkpoint(path, model)
        except FileNotFoundError:
            continue
        except DamagedCheckpointError as error:
            damaged = damaged or str(error)
            continue
        if damaged:
            log.warning("%s: training goes on from %s", damaged, path.name)
        return path
    log.warning("%s: training starts again, since there is no other checkpoint", damaged)
    return None


def _keep_former(path: Path) -> None:
    """Give a checkpoint, which is about to be replaced, a second name."""
    former(path).unlink(missing_ok=True)
    with suppress(OSError):  # some file systems have no second names
        os.link(path, former(path))


def _move_paths(state: dict[str, Any], folder: Path) -> None:
    """Let a ModelCheckpoint's state name files of the folder, where it is now; else it would forget its best score.

    Lightning removes the files that it names once there are better ones.
    """
    state["dirpath"] = str(folder)
    for key in ("best_model_path", "kth_best_model_path", "last_model_path"):
        if state.get(key):
            state[key] = str(folder / Path(state[key]).name)
    state["best_k_models"] = {
        str(folder / Path(path).name): score for path, score in state.get("best_k_models", {}).items()
    }
