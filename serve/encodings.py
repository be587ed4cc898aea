"""Histories of several requests are encoded together where that takes less.

A pass of the encoder over a short history is mostly the overhead of its array operations, which many share as well as
one; over a long one it is the products, which nobody shares (docs/benchmarks.md has where one turns into the other).
"""

from __future__ import annotations

import asyncio
import contextlib
from itertools import groupby

from recsys.bundle.encoder_fold_in import EncoderFoldIn
from recsys.bundle.fold_in import FoldIn
from serve.http.beside import LONG

LONGEST = 64  # events of a history that is encoded with others; a longer one is encoded alone

__all__ = ["Encodings"]


class Encodings:
    """Requests that wait for the vectors of people.

    Those whose requests are ready in one turn of the event loop are encoded in the next, so that nobody waits for
    requests that are still to come. A turn takes no longer than what the event loop computes anyway (`beside.LONG`).

    Args:
        most: People who are encoded together at most; 1: each alone.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._waiting: list[tuple[EncoderFoldIn, asyncio.Future[None]]] = []

    async def encoded(self, folded: FoldIn | None) -> None:
        """Return when somebody's vector is known, or is to be found alone, with the answer."""
        if not isinstance(folded, EncoderFoldIn) or folded.is_encoded:
            return
        if self.most < 2 or len(folded.items) > LONGEST:
            return
        if self.most * folded.encoder.work(len(folded.items)) > LONG:
            return
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._encode)
        done: asyncio.Future[None] = loop.create_future()
        self._waiting.append((folded, done))
        await done

    def _encode(self) -> None:
        """Encode those who wait, up to `most`; the others have the next turn."""
        turn, self._waiting = self._waiting[: self.most], self._waiting[self.most :]
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._encode)
        turn.sort(key=lambda one: (id(one[0].model), len(one[0].items)))
        for _, same in groupby(turn, lambda one: (id(one[0].model), len(one[0].items).bit_length())):
            together = list(same)
            with contextlib.suppress(Exception):  # each alone then raises its own, with the answer
                EncoderFoldIn.encode_together([folded for folded, _ in together])
            for _, done in together:
                if not done.cancelled():
                    done.set_result(None)
