"""A study: trials chosen by Optuna from those before, each one a run of its own, all of it safe from a SIGKILL.

What a trial came to is read from its folder, never from the process that ran it. So whatever dies, `recover` finds the
same: a trial whose run had ended is told its value, one that was cut off is failed and put in the queue again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.trial import FrozenTrial, Trial, TrialState

from recsys.evaluation.registry import minimized_validation
from recsys.experiments.legacy import rename_targets
from recsys.experiments.run_folder import difference, ended, read_json, record_end
from recsys.files import locked

ATTEMPTS = 10  # a trial whose process was killed this often may be what kills it: it is left failed
RETRY_OF, ATTEMPT, SETTINGS, SPACE = "retry_of", "attempt", "settings", "space"

optuna.logging.set_verbosity(optuna.logging.WARNING)


class Study:
    """A study in a database, whose trials have their folders side by side.

    Args:
        name: Of the study in the database.
        storage: RDB URL, such as `sqlite:///outputs/studies/mine/study.db`.
        folder: Where the trials' folders are, by number.
        space: What is searched, by configuration key.
        settings: All other configuration; a study that was begun with another is refused.
        seed: Of the sampler.

    Raises:
        ValueError: The study exists with other settings or another space; names what differs.
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
        self.folder, self.space, self.seed = folder, dict(space), seed
        self.study = optuna.create_study(storage=storage, study_name=name, direction="minimize", load_if_exists=True)
        self._claim("folder", {"path": str(folder)})
        self._claim(SETTINGS, dict(settings))
        self._claim(SPACE, {key: distribution_to_json(choice) for key, choice in space.items()})

    def start_with(self, settings: Mapping[str, Any]) -> None:
        """Let a new study try these settings first: what is searched for must beat what is there."""
        known = {key: value for key, value in settings.items() if contains(self.space[key], value)}
        if not self.study.trials and known:
            self.study.enqueue_trial(known)

    def ask(self) -> Trial:
        """The next trial: one that waits, else what TPE suggests.

        The sampler is made anew, seeded by the number of trials that drew from it before, those tried again counted
        once: a study that was cut short suggests what it would have suggested, and never the same twice. A trial that
        was killed before it had all its settings draws anew when it is tried again, and counts again.
        """
        trials = self.study.get_trials(deepcopy=False)
        seed = self.seed + 1000 * sum(self._drew(trial, trials) for trial in trials)
        self.study.sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True)
        return self.study.ask(self.space)

    def _drew(self, trial: FrozenTrial, trials: list[FrozenTrial]) -> bool:
        """Whether the sampler gave the trial its settings; one that is tried again has those of the first try."""
        before = trial.user_attrs.get(RETRY_OF)
        again = before is not None and len(trials[before].params) == len(self.space)
        return trial.state != TrialState.WAITING and not again

    def tell(self, number: int, *, cut_off: bool = False) -> None:
        """Take over what the trial's folder says came out.

        A trial without an end counts as failed; where trials were cut off, it is left running for `recover`.
        """
        folder = self.folder / str(number)
        if cut_off and not ended(folder):
            return
        state = (read_json(folder / "status.json") or {}).get("state")
        if state == "finished":
            self.study.tell(number, objective(folder))
        elif state == "pruned":
            self.study.tell(number, state=TrialState.PRUNED)
        else:
            self.study.tell(number, state=TrialState.FAIL)

    def recover(self) -> None:
        """Settle the trials that a killed process left running; wait for those whose own process lives on."""
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            folder = self.folder / str(trial.number)
            with locked(folder, "trains"):
                if ended(folder):
                    self.tell(trial.number)
                else:
                    self._retry(trial, folder)

    @property
    def done(self) -> int:
        """Trials that count: completed, pruned, or failed by themselves."""
        trials = self.study.get_trials(deepcopy=False)
        retried = {trial.user_attrs.get(RETRY_OF) for trial in trials}
        return sum(trial.state.is_finished() and trial.number not in retried for trial in trials)

    def _retry(self, trial: FrozenTrial, folder: Path) -> None:
        """Queue it again, then fail it: killed in between, the queue already has it, and no second one is made."""
        attempt = trial.user_attrs.get(ATTEMPT, 1)
        trials = self.study.get_trials(deepcopy=False)
        queued = next((other for other in trials if other.user_attrs.get(RETRY_OF) == trial.number), None)
        message = f"cut off, {attempt} times"
        if attempt < ATTEMPTS:
            if queued is None:
                again = {RETRY_OF: trial.number, ATTEMPT: attempt + 1}
                self.study.enqueue_trial(trial.params, user_attrs=again)
                queued = self.study.get_trials(deepcopy=False)[-1]
            message = f"cut off; tried again as trial {queued.number}"
        record_end(folder, "interrupted", message)
        self.study.tell(trial.number, state=TrialState.FAIL)

    def _claim(self, name: str, content: dict[str, Any]) -> None:
        text = json.dumps(content, sort_keys=True)
        before = self.study.user_attrs.get(name)
        if before is None:
            self.study.set_user_attr(name, text)
        elif (old := rename_targets(json.loads(before))) != (new := json.loads(text)):
            differing = difference(old, new)
            raise ValueError(
                f"study {self.study.study_name} was begun with other {name}: {differing}; "
                "go on with those, or give this one another name: hydra.sweeper.study=…"
            )


PRUNERS = {
    "halving": lambda: optuna.pruners.SuccessiveHalvingPruner(min_resource=3, reduction_factor=3),
    "median": lambda: optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=3),
    "none": optuna.pruners.NopPruner,
}


def make_pruner(name: str) -> optuna.pruners.BasePruner:
    if name not in PRUNERS:
        raise ValueError(f"pruner must be one of {', '.join(PRUNERS)}, got {name!r}")
    return PRUNERS[name]()


def objective(folder: Path) -> float:
    """Validation figure of a finished run, lower being better; of repeats, the mean."""
    figures = read_json(folder / "metrics.json") or (read_json(folder / "repeats.json") or {})["mean"]
    return minimized_validation(figures)


def contains(distribution: BaseDistribution, value: Any) -> bool:
    """Whether the distribution could give the value."""
    try:
        return distribution._contains(distribution.to_internal_repr(value))
    except (ValueError, TypeError):
        return False
