"""What a study loses to SIGKILL: `python -m benchmarks.study_kills`.

A study of MovieLens 100K is killed at random moments, with every process that it started, and begun again with the same
command each time. Then its database and its folders are counted.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import optuna

from benchmarks.killing import after, killed

FILE = Path(__file__).parent / "results" / "study_kills.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--trials", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1, help="trials side by side")
    parser.add_argument("overrides", nargs="*", default=["trainer.max_epochs=10"])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = killed_study(Path(folder), arguments)
    print(json.dumps(found, indent=2))
    FILE.write_text(json.dumps(found, indent=2) + "\n")


def killed_study(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    command = [
        sys.executable, "-m", "recsys.train", "hparams_search=optuna", f"hydra.sweeper.n_trials={arguments.trials}",
        f"hydra.sweep.dir={folder / 'study'}", "hydra.sweeper.study=killed", *arguments.overrides,
    ]  # fmt: skip
    if arguments.workers > 1:
        command += ["hydra/launcher=parallel", f"hydra.launcher.n_jobs={arguments.workers}"]
    moments = random.Random(arguments.seed)
    kills = 0
    while kills < arguments.kills:
        process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL)
        moment = after(moments.uniform(4, 12))  # the first seconds are imports
        if not killed(process.pid, lambda process=process: process.poll() is None, moment):
            break
        process.wait()
        kills += 1
        time.sleep(0.2)
    before = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    print(before)
    return counted(folder / "study", kills, arguments)


def counted(folder: Path, kills: int, arguments: argparse.Namespace) -> dict[str, Any]:
    study = optuna.load_study(study_name="killed", storage=f"sqlite:///{folder / 'study.db'}")
    states = Counter(trial.state.name for trial in study.trials)
    retried = {trial.user_attrs["retry_of"] for trial in study.trials if "retry_of" in trial.user_attrs}
    ended = [trial for trial in study.trials if trial.state.name in ("COMPLETE", "PRUNED")]
    parameters = Counter(json.dumps(trial.params, sort_keys=True) for trial in ended)
    runs = [json.loads((run / "status.json").read_text())["state"] for run in folder.glob("*/") if run.name.isdecimal()]
    return {
        "kills": kills,
        "workers": arguments.workers,
        "trials_asked": arguments.trials,
        "trials_ended": len(ended),
        "lost": arguments.trials - len(ended),
        "duplicated": sum(count - 1 for count in parameters.values()),
        "left_running": states["RUNNING"],
        "cut_off_and_tried_again": len(retried),
        "states": dict(states),
        "folders": dict(Counter(runs)),
    }


if __name__ == "__main__":
    main()
