"""Settings by validation rows: `python -m benchmarks.comparison.tune --competitor surprise-svd --data ml_1m`.

Each trial fits on training rows and is measured on the validation rows of `user_time` (of `leave_one_out` for a
ranking); test rows take no part. The first trial has the documented settings. All trials are written to
`benchmarks/results/tuned-<competitor>-<data>.json` as they come, with the best of them as what the bench calls `tuned`.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from typing import Any

import optuna

from benchmarks.comparison import selection
from benchmarks.comparison.competitors import COMPETITORS, Between, Competitor, OneOf, Settings, Value, chosen
from benchmarks.comparison.measure import Bench, measured
from benchmarks.comparison.protocols import PROTOCOLS, TUNING, Protocol
from benchmarks.comparison.results import Entry, provenance, write

DIGITS = 2  # significant, of what is tried
TARGET = {"rating": "rmse", "ranking": "ndcg@10"}


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.comparison.tune", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--competitor", required=True, choices=[c.name for c in COMPETITORS.values() if c.space])
    parser.add_argument("--data", required=True, choices=["ml_100k", "ml_1m"])
    parser.add_argument("--trials", type=selection.positive, default=30)
    parser.add_argument("--minutes", type=float, default=math.inf, help="no trial is begun after that")
    selection.add_shared_arguments(parser)
    arguments = parser.parse_args()
    competitor = chosen(arguments.competitor)
    protocol = tuning_protocol(competitor, arguments.data)
    with selection.bench(protocol, arguments, validation=True) as bench:
        found = study(competitor, bench, arguments.trials, arguments.minutes * 60)
    print(f"{competitor.name} on {arguments.data}: {found['settings']}, {found['target']} {found['best']}")


def tuning_protocol(competitor: Competitor, data: str) -> Protocol:
    """The protocol whose validation rows choose."""
    return next(p for p in PROTOCOLS if (p.data, p.split, p.kind) == (data, TUNING[competitor.kind], competitor.kind))


def study(competitor: Competitor, bench: Bench, trials: int, seconds: float) -> Entry:
    """Try settings, documented ones first; the file's content at the end."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    lower = competitor.kind == "rating"
    sampler = optuna.samplers.TPESampler(seed=0)
    tpe = optuna.create_study(sampler=sampler, direction="minimize" if lower else "maximize")
    documented = competitor.settings(bench.task.data)
    tpe.enqueue_trial({name: documented[name] for name in competitor.space})
    record = begun(competitor, bench)
    start = time.monotonic()
    while len(record["trials"]) < trials and time.monotonic() - start < seconds:
        asked = tpe.ask()
        settings = documented | suggested(asked, competitor)
        record["trials"].append({"settings": settings} | tried(bench, competitor, settings))
        value = record["trials"][-1].get(record["target"])
        tpe.tell(asked, value, optuna.trial.TrialState.FAIL if value is None else None)
        take_best(record, lower=lower)
        write(record, selection.tuned_file(competitor.name, bench.task.data))
    return record


def begun(competitor: Competitor, bench: Bench) -> Entry:
    """The file's content before the first trial."""
    return {
        "competitor": competitor.name, "data": bench.task.data, "split": TUNING[competitor.kind],
        "measured_on": "validation rows", "target": TARGET[competitor.kind], "settings": None, "best": None,
        "threads": bench.threads, "n_train": len(bench.task.train_user), "n_validation": len(bench.answers.rating),
        **provenance("benchmarks.comparison.tune", sys.argv[1:]), "trials": [],
    }  # fmt: skip


def tried(bench: Bench, competitor: Competitor, settings: Settings) -> dict[str, Any]:
    """Figures and seconds of a trial, or its error."""
    found = measured(bench, competitor, settings, seed=0)
    names = (TARGET[competitor.kind], "fit_seconds", "predict_seconds", "versions", "error")
    trial = {name: found[name] for name in names if name in found}
    print(settings, trial.get(TARGET[competitor.kind], trial.get("error")), flush=True)
    return trial


def take_best(record: Entry, *, lower: bool) -> None:
    """Make the best trial's settings those that are chosen; of equals the first, which the documented ones are."""
    done = [trial for trial in record["trials"] if record["target"] in trial]
    if done:
        best = (min if lower else max)(done, key=lambda trial: float(trial[record["target"]]))
        record["settings"], record["best"] = best["settings"], best[record["target"]]


def suggested(trial: optuna.Trial, competitor: Competitor) -> Settings:
    """What Optuna proposes, rounded as it will be written."""
    documented = competitor.settings("")
    return {name: suggestion(trial, name, space, documented[name]) for name, space in competitor.space.items()}


def suggestion(trial: optuna.Trial, name: str, space: Between | OneOf, documented: Value) -> Value:
    """One value; a number is whole if the documented one is."""
    if isinstance(space, OneOf):
        value = trial.suggest_categorical(name, space.values)
        assert value is not None
        return value
    if isinstance(documented, int):
        return trial.suggest_int(name, int(space.low), int(space.high), log=space.log)
    return float(f"{trial.suggest_float(name, space.low, space.high, log=space.log):.{DIGITS}g}")


if __name__ == "__main__":
    main()
