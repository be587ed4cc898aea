"""A stream whose reader stalls, comes back, or is gone."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator

import pytest

from serve.process.streams import QueuedStream

NOTICE = "lost %d=%d\n"


@pytest.fixture
def pipe() -> Iterator[list[int]]:
    """Its reading and its writing end."""
    ends = list(os.pipe())
    yield ends
    for end in ends:
        if end >= 0:
            os.close(end)


def test_what_is_written_arrives_whole_and_in_order(pipe: list[int]) -> None:
    stream = QueuedStream(pipe[1], notice=NOTICE)
    text = "".join(f"line {n} é\n" for n in range(2000))
    for line in text.splitlines(keepends=True):
        stream.write(line)
    print("and", "more", file=stream, flush=True)
    assert stream.finish(10)
    assert os.read(pipe[0], 1 << 20).decode() == text + "and more\n"
    assert stream.dropped == 0


def test_a_stalled_reader_holds_nobody_and_hears_of_what_it_missed(pipe: list[int]) -> None:
    stream = QueuedStream(pipe[1], most_bytes=100_000, notice=NOTICE)
    line = "x" * 99 + "\n"
    start = time.monotonic()
    for _ in range(5000):
        stream.write(line)
    assert not stream.finish(0.05)
    assert time.monotonic() - start < 5
    lost = stream.dropped
    assert 1000 < lost < 5000
    got = b""
    while not got.endswith(b"\n") or sum(map(int, re.findall(rb"lost (\d+)=", got))) < lost:
        got += os.read(pipe[0], 1 << 16)
    assert len(re.findall(rb"^lost (\d+)=\1$", got, re.MULTILINE)) == got.count(b"lost") <= 2
    stream.write("after\n")
    assert stream.finish(10)
    rest = got + os.read(pipe[0], 1 << 20)
    assert rest.endswith(b"after\n")
    assert rest.count(line.encode()) == 5000 - lost


def test_a_reader_that_is_gone_is_counted(pipe: list[int]) -> None:
    os.close(pipe[0])
    pipe[0] = -1
    stream = QueuedStream(pipe[1], notice=NOTICE)
    for _ in range(10):
        stream.write("x\n")
    assert stream.finish(10)
    assert stream.dropped == 10


def test_a_descriptor_that_does_not_block_is_waited_for(pipe: list[int]) -> None:
    os.set_blocking(pipe[1], False)
    stream = QueuedStream(pipe[1])
    text = "x" * 300_000
    stream.write(text)
    got = b""
    while len(got) < len(text):
        got += os.read(pipe[0], 1 << 16)
    assert stream.finish(10)
    assert stream.dropped == 0


def test_a_closed_descriptor_drops_everything() -> None:
    stream = QueuedStream(None)
    stream.write("x\n")
    assert stream.finish(0)
    assert (stream.dropped, stream.isatty()) == (1, False)
    with pytest.raises(OSError, match="closed"):
        stream.fileno()
