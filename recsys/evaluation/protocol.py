"""How runs are repeated and split: facts that experiments and the report share."""

from __future__ import annotations

REPEATS = "repeats.json"  # in a folder whose sub-folders are runs of one setting; it is not itself a run
TIME_SPLITS = ("user_time", "global_time", "leave_one_out", "held_out_users")  # no fit has a test row's user later
FOLDED = ("kfold", "official")  # splits with `data.fold`
SPLIT_ARGUMENTS: dict[str, tuple[str, ...]] = {  # what decides the rows of a split, besides the fold
    "held_out_users": ("test_fraction", "split_seed"),
    "user_time": (),
    "leave_one_out": (),
    "global_time": ("test_fraction",),
    "random": ("test_fraction", "split_seed"),
    "kfold": ("folds", "split_seed"),
    "official": ("split_seed",),
}


def cases_file(targets: str) -> str:
    """The file in a run folder that keeps the metrics of each case for a kind of targets."""
    return f"cases_{targets}.safetensors"


def split_arguments(split: str, ties: str | None = None) -> tuple[str, ...]:
    """Names of the arguments that decide the rows of a split, besides the fold; an unknown split has any of them.

    Args:
        split: Its name.
        ties: `data.ties`; None of an older run, whose order is that of the file.
    """
    names = SPLIT_ARGUMENTS.get(split, ("test_fraction", "folds", "split_seed"))
    if ties not in (None, "file") and split in TIME_SPLITS:
        names += ("ties",)
    return names if ties != "shuffled" or "split_seed" in names else (*names, "split_seed")
