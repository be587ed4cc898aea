"""A callback that ends its own process, once."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import lightning as L
from lightning.pytorch.callbacks import Callback


class Lost(Callback):
    """Ends a process of a fit in the middle of an epoch.

    Args:
        file: Is there once it has happened.
        rank: Which process.
        epoch: Which epoch, from 0.
        signal: By which signal.
    """

    def __init__(self, file: str, rank: int, epoch: int, signal: str = "SIGKILL") -> None:
        self.file, self.rank, self.epoch, self.signal = Path(file), rank, epoch, signal

    def on_train_batch_end(self, trainer: L.Trainer, *_: object) -> None:
        if (trainer.global_rank, trainer.current_epoch) == (self.rank, self.epoch) and not self.file.exists():
            self.file.touch()
            os.kill(os.getpid(), signal.Signals[self.signal])
