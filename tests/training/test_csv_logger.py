from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from recsys.training.csv_logger import EpochCSVLogger


def test_one_row_an_epoch(tmp_path: Path) -> None:
    logger = EpochCSVLogger(str(tmp_path))
    for epoch in range(2):
        logger.log_metrics({"lr-Adam": 0.1 / (epoch + 1)}, step=epoch)
        logger.log_metrics({"val/rmse": 1.0 - epoch / 10, "epoch": epoch}, step=epoch)
    logger.log_metrics({"test/rmse": 0.5})
    logger.save()
    rows = pd.read_csv(tmp_path / "metrics.csv")
    assert rows.to_dict("list") == {"epoch": [0, 1], "lr-Adam": [0.1, 0.05], "val/rmse": [1.0, 0.9]}
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.csv"]


def test_goes_on_from_the_rows_there_and_replaces_an_epoch_done_again(tmp_path: Path) -> None:
    first = EpochCSVLogger(str(tmp_path))
    first.log_metrics({"val/rmse": 1.0, "epoch": 0})
    first.log_metrics({"val/rmse": 9.0, "epoch": 1})
    first.save()
    second = EpochCSVLogger(str(tmp_path))
    second.log_metrics({"val/rmse": 0.8, "epoch": 1})
    second.log_metrics({"val/rmse": 0.7, "epoch": 2})
    second.save()
    assert list(pd.read_csv(tmp_path / "metrics.csv")["val/rmse"]) == [1.0, 0.8, 0.7]


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfe", b"\0" * 40, b"a,b\n1,2\n", b"epoch,val/rmse\n0,1.0\nx,2\n", b"epoch,val/rmse\n0,0.9x\n"],
)
def test_a_damaged_curve_does_not_stop_a_run(tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes) -> None:
    (tmp_path / "metrics.csv").write_bytes(content)
    logger = EpochCSVLogger(str(tmp_path))
    logger.log_metrics({"val/rmse": 0.8, "epoch": 1})
    logger.save()
    assert list(pd.read_csv(tmp_path / "metrics.csv")["epoch"]) == [1]
    assert (f"{tmp_path / 'metrics.csv'} is damaged" in caplog.text) == (content != b"")
