from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from recsys.files import WriteError
from recsys.models.bayesian.samples import Samples

SHAPES: dict[str, tuple[int, ...]] = {"rows": (2, 3), "precision": ()}


def sample(number: float) -> dict[str, torch.Tensor]:
    return {"rows": torch.full((2, 3), number), "precision": torch.tensor(-number), "other": torch.zeros(9)}


@pytest.mark.parametrize("kept", ["memory", "file"])
def test_samples_come_back_as_they_were(kept: str, tmp_path: Path) -> None:
    samples = Samples(SHAPES, tmp_path / "samples.bin" if kept == "file" else None)
    assert len(samples) == 0
    for number in range(4):
        samples.append(sample(number))
    assert len(samples) == 4
    assert samples[2]["rows"].tolist() == [[2.0] * 3] * 2
    assert samples[3]["precision"].shape == ()
    assert samples[3]["precision"] == -3
    samples.truncate(2)
    samples.append(sample(9))
    assert [samples[number]["rows"][0, 0] for number in range(len(samples))] == [0, 1, 9]
    with pytest.raises(ValueError, match="5 samples, got 3"):
        samples.truncate(5)


def test_the_file_grows_by_a_sample_and_holds_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "samples.bin"
    samples = Samples(SHAPES, file)
    samples.truncate(0)
    for number in range(3):
        before = file.read_bytes() if file.exists() else b""
        samples.append(sample(number))
        assert file.read_bytes()[: len(before)] == before
        assert len(file.read_bytes()) == 4 * 7 * (number + 1)
    assert len(Samples(SHAPES, file)) == 3
    assert np.frombuffer(file.read_bytes(), "<f4")[-1] == -2


def test_a_full_disk_is_named_and_loses_no_sample_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    samples = Samples(SHAPES, tmp_path / "samples.bin")
    samples.append(sample(1))
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WriteError, match=r"cannot write .*samples.bin: No space"):
        samples.append(sample(2))
    samples.truncate(1)
    assert samples[0]["precision"] == -1
