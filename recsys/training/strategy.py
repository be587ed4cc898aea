"""Lightning's strategy for a fit in several processes."""

from __future__ import annotations

from lightning.pytorch.strategies import DDPStrategy

from recsys.models.closed_form import FullBatchModel


class Partitioned(DDPStrategy):
    """As DistributedDataParallel, but what a process owns is not averaged over processes.

    A model in sweeps has no gradients: its processes exchange rows themselves (`recsys.models.normal_equations`).
    """

    def configure_ddp(self) -> None:
        if not isinstance(self.model, FullBatchModel):
            super().configure_ddp()
