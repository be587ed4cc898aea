"""How Lightning takes part in a fit of several processes."""

from __future__ import annotations

import signal

import lightning as L
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies import DDPStrategy


class SharedSweeps(DDPStrategy):
    """As DistributedDataParallel, without its gradients: in sweeps, processes exchange rows themselves.

    See `recsys.models.normal_equations`.
    """

    def configure_ddp(self) -> None:
        """Leave the model as it is."""


class EndOnSigterm(Callback):
    """Lets SIGTERM end a process: Lightning's handler would wait for the others, which wait for this one's rows."""

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
