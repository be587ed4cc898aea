"""Weights & Biases logger: a run's configuration, metrics and plots."""

from __future__ import annotations

import logging
import os
import queue
import re
import ssl
import threading
import urllib.error
import urllib.request
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import WandbLogger
from lightning_utilities.core.rank_zero import rank_zero_only

from recsys.bundle import Budget
from recsys.bundle.manifest import manifest_bytes, sha256_of
from recsys.evaluation.registry import summary_directions
from recsys.files import write_json
from recsys.versions.version import SHOWN

if TYPE_CHECKING:
    import wandb  # takes half a second to import, so only tracked runs do

log = logging.getLogger(__name__)

SILENT_MODES = ("offline", "dryrun", "disabled")  # values of WANDB_MODE that send nothing
LOSSES = ("val/loss", "train/loss")  # summarised by their minimum
PLOTS = ("learning_curve", "error_by_activity")
PARTS = ("model", "data", "split")  # of an artifact's name
LINK = "wandb.json"  # in the run folder: where W&B has the run
CONNECT_TIMEOUT = 2.0  # seconds until the server must respond
START_TIMEOUT = 30.0  # seconds


class WandbTracker(WandbLogger):
    """Tracks each run in W&B; data are stored in the run folder's `wandb/` and uploaded live or with `wandb sync`.

    Never prompts: without an API key or a reachable server it falls back to offline mode. Uploads configuration,
    metrics, plots, log lines and system metrics; ratings and user ids only with `upload_bundle`. Under `wandb agent`
    it joins the agent's run.

    Args:
        project: W&B project.
        save_dir: The run folder.
        entity: User or team that owns the project; None for the account's default.
        offline: Whether to work offline. None: offline without a key or server; False: then raise an error. WANDB_MODE
            takes precedence.
        upload_bundle: Upload the bundle, which contains all ratings, as an artifact of type `model`.
        tags: Tags of the run.
        finish_timeout: Seconds to wait for pending uploads at the end of a run.
    """

    def __init__(
        self,
        project: str,
        save_dir: str,
        *,
        entity: str | None = None,
        offline: bool | None = None,
        upload_bundle: bool = False,
        tags: Sequence[str] = (),
        finish_timeout: float = 120.0,
    ) -> None:
        if finish_timeout <= 0:
            raise ValueError(f"finish_timeout must be > 0 seconds, got {finish_timeout}")
        super().__init__(project=project, save_dir=save_dir)
        self.folder, self.entity, self.offline, self.upload_bundle = Path(save_dir), entity, offline, upload_bundle
        self.tags, self.finish_timeout = tuple(tags), finish_timeout
        self.pending: dict[str, float] = {}  # logged before the epoch is known, such as learning rates
        self.run_dir = self.folder  # where wandb keeps the run
        self.warned = False

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The `wandb.Run`; started on first use unless `begin` did so."""
        if self._experiment is None:
            self.begin({}, None, None)
        return self._experiment

    @rank_zero_only
    def begin(self, config: Mapping[str, Any], name: str | None, group: str | None) -> None:
        """Start the run.

        Args:
            config: Resolved configuration; nested keys are joined by dots, such as `model.embedding_dim`.
            name: Display name; WANDB_NAME takes precedence.
            group: Group of runs; WANDB_RUN_GROUP takes precedence.

        Raises:
            ValueError: wandb fails to start, or online mode is required but not available.
        """
        import wandb

        try:
            known = wandb.setup().settings  # from the environment, settings files and an agent
            mode, reason = self._mode(known)
            arguments: dict[str, Any] = {"tags": list(dict.fromkeys([*(known.run_tags or ()), *self.tags]))}
            if known.sweep_id is None:  # otherwise the agent has created the run
                arguments |= {"project": self._project, "entity": self.entity}
                arguments |= {"name": known.run_name or name, "group": known.run_group or group}
            self.folder.mkdir(parents=True, exist_ok=True)
            self._experiment = run = wandb.init(
                config=columns(config), dir=str(self.folder), mode=mode, reinit="create_new",
                resume=None if mode in SILENT_MODES else "auto",  # resuming a folder resumes its W&B run
                settings=self._settings(), **arguments,
            )  # fmt: skip
        except wandb.Error as error:
            sentence = str(error).partition("\n")[0]
            raise ValueError(f"W&B failed to start: {sentence}; logger.wandb.offline=true works offline") from error
        run.define_metric("epoch", hidden=True)
        run.define_metric("*", step_metric="epoch")
        for name, direction in (dict.fromkeys(LOSSES, "min") | summary_directions()).items():
            run.define_metric(name, step_metric="epoch", summary=direction)
        self.run_dir = Path(run.dir).parent
        self._log_location(mode, reason)

    @rank_zero_only
    def configure(self, config: Mapping[str, Any]) -> None:
        """Replace the configuration that `begin` got, once more of it is known."""
        with self._warn_once():
            self.experiment.config.update(columns(config), allow_val_change=True)

    def _mode(self, known: wandb.Settings) -> tuple[Any, str]:
        """The mode for `wandb.init`, and the reason for it."""
        asked: str | None = os.environ.get("WANDB_MODE") or (known.mode if known.mode != "online" else None)
        reason = f"WANDB_MODE={asked}" if asked else f"logger.wandb.offline={str(self.offline).lower()}"
        if asked is None and self.offline is not None:
            asked = "offline" if self.offline else "online"
        if asked in SILENT_MODES or known.sweep_id is not None:  # an agent has just contacted the server
            return asked or "online", reason
        obstacle = _offline_reason(known)
        if obstacle is None:
            return asked or "online", reason
        if asked is not None:
            raise ValueError(f"{reason} needs a W&B server, but {obstacle}")
        return "offline", obstacle

    def _settings(self) -> wandb.Settings:
        import wandb

        return wandb.Settings(
            save_code=False, disable_code=True,
            disable_git=True,  # a repository in the run folder could name programs for git to run
            console="off", capture_loggers={"root": "INFO"},  # the log's lines without the progress bar's
            silent=True,  # we log what matters
            init_timeout=START_TIMEOUT, finish_timeout=self.finish_timeout, finish_timeout_raises=True,
        )  # fmt: skip

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace) -> None:
        """Do nothing: `begin` gets the configuration, with command-line names."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """One row per epoch; metrics without an epoch are kept for the next row."""
        self.pending |= metrics
        if "epoch" in metrics:
            with self._warn_once():
                self.experiment.log(self.pending | {"epoch": int(metrics["epoch"])})
            self.pending = {}

    @rank_zero_only
    def results(
        self, metrics: Mapping[str, Any], analysis: Mapping[str, Any], folder: Path, aliases: Sequence[str]
    ) -> None:
        """Log the results of a finished run, and write where they are, so that versions of it can say so.

        The run's summary, and the artifact, name the version that the bundle becomes in a store.

        Args:
            metrics: Content of `metrics.json`, for the summary.
            analysis: Result of `recsys.evaluation.error_analysis.analyse`, for tables.
            folder: The run folder, with the plots and the bundle.
            aliases: Aliases of the bundle's artifact besides `latest`.
        """
        run = self.experiment
        with self._warn_once():
            run.log(_plots(folder) | _tables(analysis))
            version = sha256_of(manifest_bytes(folder / "bundle", Budget()))
            run.summary.update({name: value for name, value in metrics.items() if value is not None})
            run.summary["version"] = version
            link = {"run": run.path, "url": run.url or None}
            if self.upload_bundle:
                artifact = _artifact({**metrics, "version": version}, folder / "bundle")
                run.log_artifact(artifact, aliases=[*aliases, version[:SHOWN]])
                link["artifact"] = f"{run.path.rpartition('/')[0]}/{artifact.name}:{version[:SHOWN]}"
            write_json(folder / LINK, link)

    @rank_zero_only
    def close(self, exit_code: int) -> None:
        """Finish the run, if any; exit code 0 means success. The next `begin` starts a new one."""
        run, self._experiment, self.pending = self._experiment, None, {}
        if run is not None:
            with self._warn_once():
                run.finish(exit_code)
        self.warned = False

    def _log_location(self, mode: str, reason: str) -> None:
        if mode == "disabled":
            log.info("W&B is disabled: %s", reason)
        elif mode in SILENT_MODES:
            log.info("W&B is offline: %s; to upload this run: wandb sync %s", reason, self.run_dir)
        else:
            log.info("W&B: %s", self.experiment.url)

    @contextmanager
    def _warn_once(self) -> Iterator[None]:
        """Log W&B's first error instead of raising it, so that training continues."""
        try:
            yield
        except Exception as error:
            if not self.warned:
                message = str(error).rstrip(".") or type(error).__name__
                log.warning("W&B: %s; to upload this run later: wandb sync %s", message, self.run_dir)
            self.warned = True


def columns(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten a nested mapping; keys are joined by dots, as in the parameters of a W&B sweep."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        flat |= columns(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def _offline_reason(known: wandb.Settings) -> str | None:
    """Why the run must be offline; None if the server can be used."""
    import wandb

    silent, known.silent = known.silent, True  # otherwise login asks the server for up to five seconds
    try:
        has_key = wandb.login(prompt=False, verify=False)
    finally:
        known.silent = silent
    if not has_key:
        return "no API key is set (WANDB_API_KEY or wandb login)"
    return None if _is_reachable(known.base_url, CONNECT_TIMEOUT) else f"{known.base_url} is not reachable"


def _is_reachable(server: str, seconds: float) -> bool:
    """Whether the server responds in time, even with an error; uses the configured proxy."""
    found: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def ask() -> None:
        try:
            urllib.request.urlopen(server, timeout=seconds).close()
            found.put(True)
        except urllib.error.HTTPError:
            found.put(True)
        except (OSError, HTTPException) as error:  # an SSL error is no obstacle: wandb brings its own certificates
            found.put(isinstance(getattr(error, "reason", None), ssl.SSLError))

    threading.Thread(target=ask, daemon=True).start()  # a DNS lookup has no timeout
    try:
        return found.get(timeout=seconds)
    except queue.Empty:
        return False


def _plots(folder: Path) -> dict[str, Any]:
    import wandb

    files = {name: folder / f"{name}.png" for name in PLOTS}
    return {name: wandb.Image(str(file)) for name, file in files.items() if file.is_file()}


def _tables(analysis: Mapping[str, Any]) -> dict[str, Any]:
    """One table for each part of the analysis; calibration becomes a line plot."""
    import wandb

    parts = {f"analysis/{name}": rows for name, rows in analysis.items() if name != "items"}
    parts |= {f"items/{which}": items for which, items in analysis.get("items", {}).items()}
    tables: dict[str, Any] = {}
    for name, rows in parts.items():
        titles: list[str | int] = list(rows[0]) if rows else []
        tables[name] = wandb.Table(columns=titles, data=[list(row.values()) for row in rows])
    if (name := "analysis/calibration") in tables:
        title = "Mean rating by prediction"
        tables[name] = wandb.plot.line(tables[name], "mean_predicted", "mean_rating", title=title)
    return tables


def _artifact(metrics: Mapping[str, Any], bundle: Path) -> wandb.Artifact:
    import wandb

    name = re.sub(r"[^A-Za-z0-9_.-]", "-", "-".join(str(metrics[part]) for part in PARTS))
    artifact = wandb.Artifact(name, type="model", metadata=dict(metrics))
    artifact.add_dir(str(bundle), policy="immutable")  # uploaded from there without a copy
    return artifact
