from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from recsys.training.plots import error_by_activity, learning_curve

pytestmark = pytest.mark.long

LOWERED = "epoch,lr-Adam,train/loss,val/rmse\n0,0.1,1,1.0\n1,0.1,0.8,0.9\n2,0.02,0.7,0.95\n"
SIZE = (1008, 576)  # pixels


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that would be saved; to render one takes longer than all the rest."""
    figures: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda self, *_, **__: figures.append(self))
    return figures


def curve(folder: Path, text: str) -> Path:
    (folder / "metrics.csv").write_text(text)
    learning_curve(folder / "metrics.csv", folder / "curve.png")
    return folder / "curve.png"


def groups(*rows: tuple[int, int | None, int, float, float]) -> dict[str, Any]:
    return {
        "by_user_activity": [dict(zip(("from", "to", "rows", "rmse", "baseline"), row, strict=True)) for row in rows]
    }


def size(file: Path) -> tuple[int, int]:
    header = file.read_bytes()[:24]
    assert header.startswith(b"\x89PNG")
    return int.from_bytes(header[16:20], "big"), int.from_bytes(header[20:24], "big")


def test_learning_curve(tmp_path: Path, drawn: list[Figure]) -> None:
    curve(tmp_path, LOWERED)
    axes, loss_axes = drawn[0].axes
    rmse, lowered = axes.lines
    np.testing.assert_allclose(rmse.get_xydata(), [[1, 1.0], [2, 0.9], [3, 0.95]])
    assert set(lowered.get_xdata()) == {3}
    np.testing.assert_allclose(loss_axes.lines[0].get_ydata(), [1, 0.8, 0.7])
    assert [text.get_text() for text in axes.texts] == ["0.9000 at epoch 2"]
    assert loss_axes.get_ylabel() == "training loss (stars²)"


def test_learning_curve_of_a_ranking_run_with_a_schedule(tmp_path: Path, drawn: list[Figure]) -> None:
    curve(tmp_path, "epoch,val/ndcg@10,train/loss,lr-Adam\n0,.1,6,.1\n1,.2,5,.2\n2,.3,4,.1\n3,.3,4,.05\n")
    axes, loss_axes = drawn[0].axes
    assert loss_axes.get_ylabel() == "training loss"
    assert len(axes.lines) == 1
    assert axes.get_title() == "Learning curve"


@pytest.mark.parametrize(
    ("text", "points", "label"),
    [
        ("epoch,val/rmse\n0,\n1,0.9\n2,0.8\n3,\n", [[2, 0.9], [3, 0.8]], "0.8000 at epoch 3"),  # gaps
        ("epoch,val/rmse,lr-Adam\n0,0.9,0.1\n1,,\n2,0.8,0.1\n", [[1, 0.9], [3, 0.8]], "0.8000 at epoch 3"),
        ("epoch,val/rmse,train/loss\n4,0.9,nan\n", [[5, 0.9]], "0.9000 at epoch 5"),  # one epoch
        (
            "epoch,val/loss,val/ndcg@10\n0,1,0.1\n1,2,0.3\n2,3,0.2\n",
            [[1, 0.1], [2, 0.3], [3, 0.2]],
            "0.3000 at epoch 2",
        ),
        ("epoch,train/loss\n0,1\n1,2\n", None, None),  # nothing was validated
        ("epoch,val/rmse,train/loss,lr-Adam\n0,,,\n", None, None),
        ("epoch\n0\n", None, None),
    ],
)
def test_learning_curve_of_what_there_is(
    tmp_path: Path, drawn: list[Figure], text: str, points: list[list[float]] | None, label: str | None
) -> None:
    curve(tmp_path, text)
    axes = drawn[0].axes[0]
    assert [text.get_text() for text in axes.texts] == ([label] if label else [])
    if points is None:
        assert not axes.lines
    else:
        np.testing.assert_allclose(axes.lines[0].get_xydata(), points)


@pytest.mark.parametrize(
    "text", [LOWERED, "epoch,val/rmse\n4,0.9\n", "epoch\n0\n"], ids=["all", "one epoch", "nothing"]
)
def test_a_learning_curve_is_a_picture(tmp_path: Path, text: str) -> None:
    assert size(curve(tmp_path, text)) == SIZE


def test_error_by_activity(tmp_path: Path, drawn: list[Figure]) -> None:
    found = groups((0, 0, 7, 1.2, 1.1), (1, 4, 1234, 1.0, 1.05), (1000, None, 3, 0.8, 0.9))
    error_by_activity(found, tmp_path / "error.png")
    axes, row_axes = drawn[0].axes
    lines = {line.get_label(): list(line.get_ydata()) for line in axes.lines}
    assert lines == {"biases": [1.1, 1.05, 0.9], "model": [1.2, 1.0, 0.8]}
    assert [bar.get_height() for bar in row_axes.patches] == [7, 1234, 3]
    assert [text.get_text() for text in row_axes.texts] == ["7", "1,234", "3"]
    assert [label.get_text() for label in row_axes.get_xticklabels()] == ["0", "1–4", "1,000+"]


@pytest.mark.parametrize("rows", [[(0, 0, 7, 1.2, 1.1), (1, None, 1234, 1.0, 1.05)], [(20, 49, 5, 1.0, 1.0)]])
def test_error_by_activity_is_a_picture(tmp_path: Path, rows: list[tuple[int, int | None, int, float, float]]) -> None:
    error_by_activity(groups(*rows), tmp_path / "error.png")
    assert size(tmp_path / "error.png") == SIZE


def test_an_interrupted_plot_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(self: Figure, target: Any, **_: Any) -> None:
        target.write(b"half") if hasattr(target, "write") else Path(target).write_bytes(b"half")
        raise KeyboardInterrupt

    (tmp_path / "curve.png").write_bytes(b"before")
    monkeypatch.setattr(Figure, "savefig", interrupt)
    with pytest.raises(KeyboardInterrupt):
        curve(tmp_path, LOWERED)
    assert (tmp_path / "curve.png").read_bytes() == b"before"
    assert {file.name for file in tmp_path.iterdir()} == {"curve.png", "metrics.csv"}
