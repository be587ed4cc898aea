"""Hydra sweeper that runs the trials of an Optuna study."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from recsys.database.passwords import redacted
from recsys.experiments.mistakes import explain
from recsys.experiments.run_folder import TRANSIENT_KEYS
from recsys.files import atomic_write

if TYPE_CHECKING:  # Optuna is imported only for studies
    from optuna.trial import Trial

    from recsys.experiments.study import Study


class OptunaSweeper(Sweeper):
    """Runs trials of an Optuna study until it has `n_trials`.

    Args:
        study: Name of the study.
        storage: RDB URL that holds it.
        n_trials: Total number of trials of the study, including earlier sessions.
        seed: Seed of the sampler.
        pruner: One of `recsys.training.pruners.PRUNERS`; read by the trials (`callbacks.pruning`).
        params: The search space as overrides; those on the command line take precedence.
    """

    def __init__(
        self, study: str, storage: str, n_trials: int, seed: int, pruner: str, params: Mapping[str, Any]
    ) -> None:
        self.study, self.storage, self.n_trials, self.seed = study, storage, n_trials, seed
        self.pruner, self.params = pruner, params

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.composed = config
        self.parser = OverridesParser.create(config_loader=hydra_context.config_loader)
        self.jobs = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Start or resume the study; user errors exit with a message, where Hydra would print a traceback."""
        from optuna.exceptions import OptunaError
        from sqlalchemy.exc import SQLAlchemyError

        try:
            self._sweep(arguments)
        except (ValueError, ImportError, OSError, SQLAlchemyError, OptunaError, HydraException) as error:
            sys.exit(f"error: {redacted(explain(error, 'train'))}")

    def _sweep(self, arguments: list[str]) -> None:
        from recsys.experiments.search_space import distribution
        from recsys.experiments.study import Study
        from recsys.training.pruners import make_pruner

        if self.n_trials < 1:
            raise ValueError(f"hydra.sweeper.n_trials must be >= 1, got {self.n_trials}")
        make_pruner(self.pruner)
        texts = [*(f"{name}={choice}" for name, choice in self.params.items()), *arguments]
        overrides = {override.get_key_element(): override for override in self.parser.parse_overrides(texts)}
        fixed = [str(override.input_line) for override in overrides.values() if not override.is_sweep_override()]
        space = {key: distribution(override) for key, override in overrides.items() if override.is_sweep_override()}
        if not space:
            raise ValueError(
                "the search space is empty: set hydra.sweeper.params, or a sweep such as model.dropout=0.1,0.2"
            )
        folder = Path(self.composed.hydra.sweep.dir).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        study = Study(self.study, self.storage, folder, space, self._settings(), self.seed)
        with atomic_write(folder / "multirun.yaml") as partial:
            OmegaConf.save(self.composed, partial)
        study.start_with({key: OmegaConf.select(self.composed, key) for key in space})
        study.recover()
        while (left := self.n_trials - study.done) > 0:
            self._run([study.ask() for _ in range(min(left, self._n_parallel()))], fixed, study)

    def _run(self, trials: Sequence[Trial], fixed: list[str], study: Study) -> None:
        """Run trials in parallel; results are read from their folders, since a worker may be killed."""
        jobs = [[*fixed, *trial_overrides(trial, study)] for trial in trials]
        interrupted = True  # by Ctrl-C
        try:
            self.jobs.launch(jobs, initial_job_idx=trials[0].number)
            interrupted = False
        finally:
            for trial in trials:
                study.tell(trial.number, interrupted=interrupted)

    def _n_parallel(self) -> int:
        """Number of trials that the launcher runs in parallel."""
        return int(getattr(self.jobs, "n_workers", 1))

    def _settings(self) -> dict[str, Any]:
        """The composed configuration shared by all trials."""
        settings = OmegaConf.to_container(self.composed, resolve=False)
        assert isinstance(settings, dict)
        return {str(key): value for key, value in settings.items() if key not in ("hydra", *TRANSIENT_KEYS)}


def trial_overrides(trial: Trial, study: Study) -> list[str]:
    """The trial's number, and its settings of the search space alone, whatever else a database holds for it."""
    from recsys.experiments.search_space import to_override

    return [*(f"{key}={to_override(trial.params[key])}" for key in study.space), f"trial={trial.number}"]
