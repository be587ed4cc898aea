"""How many requests a worker takes on, by number and by time."""

from __future__ import annotations

import math
from time import monotonic

import pytest

from serve.http import load as module
from serve.http.load import FEWEST, Load


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the time is."""
    now = [1000.0]
    monkeypatch.setattr(module, "monotonic", lambda: now[0])
    return now


def test_the_number_is_a_bound() -> None:
    load = Load(2, 1.0)
    load.in_flight = 1
    assert not load.full
    load.in_flight = 2
    assert load.full
    assert Load(0, 1.0).limit == math.inf


def test_slow_requests_make_it_smaller_and_quick_ones_larger_again() -> None:
    load = Load(256, 0.2)
    for _ in range(200):
        load.took(0.005)
    assert load.limit == pytest.approx(20, rel=0.01)
    for _ in range(200):
        load.took(0.0001)
    assert load.limit == 256
    for _ in range(400):
        load.took(10.0)
    assert load.limit == FEWEST


def test_a_pause_of_the_process_hardly_counts() -> None:
    load = Load(256, 0.2)
    for _ in range(100):
        load.took(0.0003)
    load.took(5.0)
    assert load.limit > 150


def test_what_waited_through_a_pause_is_begun(clock: list[float]) -> None:
    load = Load(256, 0.2)
    assert load.begins(clock[0])
    clock[0] += 5
    assert all(load.begins(1000.0) for _ in range(16))


def test_what_waits_too_long_for_long_is_not(clock: list[float]) -> None:
    load = Load(256, 0.2)
    load.in_flight = 256
    begun = 0
    for number in range(256):  # all at once, 5 ms each
        if load.begins(1000.0):
            begun += 1
            clock[0] += 0.005
        assert number > 40 or begun == number + 1
    assert 40 <= begun <= 100
    assert load.begins(clock[0])


def test_its_clock_is_the_monotonic_one() -> None:
    assert Load(1, 1.0).begins(monotonic())


def test_a_few_are_begun_whatever_they_wait_for(clock: list[float]) -> None:
    load = Load(256, 0.2)
    load.in_flight = 8
    for _ in range(100):
        clock[0] += 0.1
        assert load.begins(clock[0] - 1)
    load.in_flight = 9
    assert not load.begins(clock[0] - 1)
