"""A crash-safe Optuna study whose trials are runs.

Results are read from the trials' folders, never from the processes that ran them. After any crash `recover` restores
a consistent state: trials whose run has ended get their value, and interrupted ones are marked failed and queued again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)
from optuna.trial import FrozenTrial, Trial, TrialState

from recsys.evaluation.protocol import REPEATS
from recsys.evaluation.registry import minimized_validation
from recsys.experiments.legacy import upgrade_settings
from recsys.experiments.run_folder import RETRIED, difference, has_ended, is_same_place, write_status
from recsys.files import folder_lock, read_json

ATTEMPTS = 10  # for a trial whose process is killed every time
RETRY_OF, ATTEMPT, SETTINGS, SPACE = "retry_of", "attempt", "settings", "space"


class Study:
    """A study in a database, with one folder per trial.

    Args:
        name: Name of the study in the database.
        storage: RDB URL, such as `sqlite:///outputs/studies/mine/study.db`.
        folder: Contains the trials' folders, named by number.
        space: Distributions by configuration key.
        settings: All other configuration; must equal that of an existing study.
        seed: Seed of the sampler.

    Raises:
        ValueError: The study exists with other settings or another search space; names the difference.
    """

    def __init__(
        self,
        name: str,
        storage: str,
        folder: Path,
        space: Mapping[str, BaseDistribution],
        settings: Mapping[str, Any],
        seed: int = 0,
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)  # each trial prints its own line
        self.folder, self.space, self.seed = folder, dict(space), seed
        self.study = optuna.create_study(storage=storage, study_name=name, direction="minimize", load_if_exists=True)
        before = json.loads(self.study.user_attrs.get("folder", "{}")).get("path", str(folder))
        self._check_unchanged("folder", {"path": before if is_same_place(before, folder) else str(folder)})
        self._check_unchanged(SETTINGS, dict(settings))
        self._check_unchanged(SPACE, {key: distribution_to_json(choice) for key, choice in space.items()})

    def start_with(self, settings: Mapping[str, Any]) -> None:
        """Queue these settings as the first trial of a new study, as a baseline."""
        initial = {key: value for key, value in settings.items() if in_support(self.space[key], value)}
        if not self.study.trials and initial:
            self.study.enqueue_trial(initial)

    def ask(self) -> Trial:
        """The next trial: a queued one, or else one suggested by TPE.

        The sampler is recreated for each trial, seeded by the number of trials sampled so far, excluding retries. A
        resumed study thus suggests the same trials as an uninterrupted one and never repeats one. A trial killed before
        all of its settings were sampled is sampled again when retried, and counts again.
        """
        trials = self.study.get_trials(deepcopy=False)
        seed = self.seed + 1000 * sum(self._was_sampled(trial, trials) for trial in trials)
        self.study.sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True)
        return self.study.ask(self.space)

    def _was_sampled(self, trial: FrozenTrial, trials: list[FrozenTrial]) -> bool:
        """Whether the sampler chose the trial's settings; retries reuse those of the first attempt."""
        before = trial.user_attrs.get(RETRY_OF)
        again = before is not None and len(trials[before].params) == len(self.space)
        return trial.state != TrialState.WAITING and not again

    def tell(self, number: int, *, interrupted: bool = False) -> None:
        """Report the result in the trial's folder to the study.

        A trial without a result counts as failed; with `interrupted`, it stays in state running for `recover`.
        """
        folder = self.folder / str(number)
        if interrupted and not has_ended(folder):
            return
        state = (read_json(folder / "status.json") or {}).get("state")
        if state == "finished":
            self.study.tell(number, objective(folder))
        elif state == "pruned":
            self.study.tell(number, state=TrialState.PRUNED)
        else:
            self.study.tell(number, state=TrialState.FAIL)

    def recover(self) -> None:
        """Report or retry the trials that a killed process left running; waits for trials whose process is alive."""
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            folder = self.folder / str(trial.number)
            with folder_lock(folder, "trains"):
                if has_ended(folder):
                    self.tell(trial.number)
                else:
                    self._retry(trial, folder)

    @property
    def done(self) -> int:
        """Number of trials that completed, were pruned or failed, excluding those that were retried."""
        trials = self.study.get_trials(deepcopy=False)
        retried = {trial.user_attrs.get(RETRY_OF) for trial in trials}
        return sum(trial.state.is_finished() and trial.number not in retried for trial in trials)

    def _retry(self, trial: FrozenTrial, folder: Path) -> None:
        """Queue the trial again, then mark it as failed; in this order, since a kill in between must not lose it."""
        attempt = trial.user_attrs.get(ATTEMPT, 1)
        trials = self.study.get_trials(deepcopy=False)
        queued = next((other for other in trials if other.user_attrs.get(RETRY_OF) == trial.number), None)
        message = f"interrupted {attempt} times"
        if attempt < ATTEMPTS:
            if queued is None:
                again = {RETRY_OF: trial.number, ATTEMPT: attempt + 1}
                self.study.enqueue_trial(trial.params, user_attrs=again)
                queued = self.study.get_trials(deepcopy=False)[-1]
            message = f"interrupted; {RETRIED} as trial {queued.number}"
        write_status(folder, "interrupted", message)
        self.study.tell(trial.number, state=TrialState.FAIL)

    def _check_unchanged(self, name: str, content: dict[str, Any]) -> None:
        text = json.dumps(content, sort_keys=True)
        before = self.study.user_attrs.get(name)
        if before is None:
            self.study.set_user_attr(name, text)
            return
        try:
            found = difference(upgrade_settings(json.loads(before)), json.loads(text))
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(
                f"{name} of study {self.study.study_name} is damaged in its database ({type(error).__name__}); start "
                "another study with hydra.sweeper.study=…"
            ) from error
        if found:
            raise ValueError(
                f"{name} of study {self.study.study_name} differs: {found}; "
                "use the same, or start another study with hydra.sweeper.study=…"
            )


def objective(folder: Path) -> float:
    """Validation metric of a finished run, lower being better; for repeats, the mean.

    Raises:
        ValueError: The file that holds it is missing or damaged.
    """
    metrics = read_json(folder / "metrics.json") or (read_json(folder / REPEATS) or {}).get("mean")
    if not metrics:
        name = REPEATS if (folder / REPEATS).exists() else "metrics.json"
        raise ValueError(
            f"{folder / name} is missing or damaged: python -m recsys.train resume={folder} writes it again"
        )
    return minimized_validation(metrics)


def in_support(distribution: BaseDistribution, value: Any) -> bool:
    """Whether the value is in the support of the distribution."""
    if isinstance(distribution, CategoricalDistribution):
        return value in distribution.choices
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    kinds = int if isinstance(distribution, IntDistribution) else int | float
    if isinstance(value, bool) or not isinstance(value, kinds) or not distribution.low <= value <= distribution.high:
        return False
    steps = (value - distribution.low) / (distribution.step or 1)
    return distribution.step is None or abs(steps - round(steps)) < 1e-8
