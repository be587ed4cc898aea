"""A run's own configuration fitted again on a version's ratings and later events, warm-started, in a child process.

The child is `python -m recsys.train resume=<folder>` on a folder with that configuration; one that was killed goes on
from its checkpoints.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recsys.bundle import Bundle
from recsys.database import Database
from recsys.database.passwords import redacted
from recsys.files import read_json, write_json

LIVE = "recsys.data.sources.LiveRatings"
OWN_LOGGER = "recsys.training.csv_logger.EpochCSVLogger"
OF_THE_DATA = ("split", "test_fraction", "split_seed", "ties", "batch_size", "seed")  # keys that any source has
SPLITS = ("user_time", "global_time", "random", "leave_one_out", "held_out_users")  # that any ratings have
OF_ANOTHER_RUN = ("resume", "trust", "seeds", "folds", "overrides", "trial", "inferred")
VARIABLE = "RECSYS_DATABASE"
CONFIG = "config.yaml"  # JSON, which is YAML
LAST_LINES = 5  # of what a failed child said, for the message

log = logging.getLogger(__name__)


class RefitError(ValueError):
    """A refit cannot be made, or failed."""


def refit_configuration(configuration: Mapping[str, Any], folder: Path, bundle: Path, cut: int) -> dict[str, Any]:
    """The configuration of a run that fits again what another one fitted.

    Args:
        configuration: Of that run, as its `config.yaml` has it.
        folder: Of the new run.
        bundle: Folder of the version that it starts from.
        cut: The last event that counts.

    Raises:
        RefitError: It is not the configuration of a run, or of one on a base that would have to be fitted again first.
    """
    model, data = configuration.get("model"), configuration.get("data")
    if not isinstance(model, dict) or not isinstance(data, dict) or not isinstance(configuration.get("run_dir"), str):
        raise RefitError("the version has no configuration of a run: add one with `recsys versions add RUN`")
    if model.get("base") is not None:
        raise RefitError(f"the version adds to another bundle, model.base={model['base']}: fit both again by hand")
    before = str(configuration["run_dir"])
    split = data.get("split") if data.get("split") in SPLITS else "auto"
    whole: dict[str, Any] = _moved(dict(configuration), before, str(folder))
    loggers = (whole.get("logger") or {}).items()
    return whole | dict.fromkeys(OF_ANOTHER_RUN) | {
        "data": {key: data[key] for key in OF_THE_DATA if key in data}
        | {"_target_": LIVE, "bundle": str(bundle), "cut": cut, "name": None, "split": split},
        "model": model | ({"warm_start": str(bundle)} if "warm_start" in model else {}),
        "logger": {name: one for name, one in loggers if isinstance(one, dict) and one.get("_target_") == OWN_LOGGER},
        "overrides": [],
        "evaluation": "standard",
        "refit": "all",
        "run_dir": str(folder),
    }  # fmt: skip


def _moved(node: Any, before: str, now: str) -> Any:
    """The settings with the folder of another run replaced."""
    if isinstance(node, dict):
        return {key: _moved(value, before, now) for key, value in node.items()}
    if isinstance(node, list):
        return [_moved(value, before, now) for value in node]
    if isinstance(node, str) and (node == before or node.startswith(before + "/")):
        return now + node[len(before) :]
    return node


def refitted(configuration: Mapping[str, Any], folder: Path, database: Database) -> Bundle:
    """Fit with a configuration in its folder, or go on there with the same one.

    What was begun with another configuration, such as one of fewer events, is begun anew.

    Raises:
        RefitError: The child failed; the message has its last lines.
    """
    wanted = folder.with_name(f"{folder.name}.json")  # config.yaml may get what training infers
    if read_json(wanted) != configuration:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        write_json(folder / CONFIG, configuration)
        write_json(wanted, configuration)
    if (read_json(folder / "status.json") or {}).get("state") != "finished":
        command = [sys.executable, "-m", "recsys.train", f"resume={folder}"]
        environment = {**os.environ, VARIABLE: database.engine.url.render_as_string(hide_password=False)}
        log.info("fitting again in %s", folder)
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL
        )
        if done.returncode:
            said = " | ".join(redacted(done.stderr).strip().splitlines()[-LAST_LINES:])
            raise RefitError(f"{folder}: recsys.train failed with status {done.returncode}: {said}")
    return Bundle.load(folder / "bundle")
