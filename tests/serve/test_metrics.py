"""Figures by route template and status; across processes in test_main."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from recsys.bundle import Bundle
from serve import metrics as module
from serve.http.load import Load
from serve.metrics import MULTIPROC_DIR, Metrics
from serve.models.served_model import ServedModel
from tests.serve.conftest import client_of, rich


def samples(text: str | bytes) -> dict[tuple[str, frozenset[Any]], float]:
    text = text.decode() if isinstance(text, bytes) else text
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(text: str | bytes, name: str, **labels: str) -> float | None:
    return samples(text).get((name, frozenset(labels.items())))


def test_requests_are_counted_by_template_and_status(bundles: dict[str, Bundle]) -> None:
    with client_of(bundles["int"]) as client:
        for path in ("/items/50", "/items/7", "/items/4711", "/nowhere", "/else/where"):
            client.get(path)
        text = client.get("/metrics").text
        assert value(text, "recsys_requests_total", method="GET", route="/items/{item_id}", status="200") == 2
        assert value(text, "recsys_requests_total", method="GET", route="/items/{item_id}", status="404") == 1
        assert value(text, "recsys_requests_total", method="other", route="other", status="404") == 2
        count = "recsys_request_seconds_count"
        assert value(text, count, method="GET", route="/items/{item_id}", status="200") == 2
        assert value(text, "recsys_model_workers", version="unsaved", model="mf", data="small") == 1
        assert value(text, "recsys_failed_loads_total") == 0
        assert value(text, "recsys_requests_in_flight") == 0
        assert client.get("/metrics").headers["content-type"].startswith("text/plain")


def test_labels_cannot_be_made_up_by_clients(bundles: dict[str, Bundle]) -> None:
    with client_of(bundles["int"]) as client:
        client.get("/metrics")
        before = len(samples(client.get("/metrics").text))
        for n in range(20):
            client.request(f"BREW{n}", "/items/50")
            client.get(f"/nowhere/{n}")
            client.get(f"/users/{n}")
            client.get(f"/page/{n}")
        text = client.get("/metrics").text
        assert not re.search("BREW|nowhere", text)
        assert len(samples(text)) < before + 150  # a few routes and statuses, of some twenty figures each


def test_a_swap_moves_the_version() -> None:
    metrics = Metrics(Load(0, 1))
    one, other = ServedModel(rich()), ServedModel(rich())
    one.version, other.version = "one", "other"
    metrics.set_model(one, swapped=False)
    metrics.set_model(other, swapped=True)
    metrics.set_failed_loads(2)
    metrics.set_failed_loads(3)
    text = metrics.text()
    labels = {"model": "mf", "data": "small"}
    assert value(text, "recsys_model_workers", version="one", **labels) in (0, None)
    assert value(text, "recsys_model_workers", version="other", **labels) == 1
    assert value(text, "recsys_swaps_total") == 1
    assert value(text, "recsys_failed_loads_total") == 3


def test_the_dead_are_not_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MULTIPROC_DIR, str(tmp_path))
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    (tmp_path / f"gauge_livesum_{child}.db").write_bytes(bytes(8))
    mine = tmp_path / f"gauge_livesum_{os.getpid()}.db"
    mine.write_bytes(bytes(8))
    Metrics(Load(0, 1)).text()
    assert list(tmp_path.iterdir()) == [mine]

    def late(process: int, folder: str) -> None:
        raise FileNotFoundError  # another worker removed it between look and removal

    (tmp_path / f"gauge_livesum_{child}.db").write_bytes(bytes(8))
    monkeypatch.setattr(module, "mark_process_dead", late)
    Metrics(Load(0, 1)).text()
