"""One run: selection on validation rows, refit, evaluation, export. `cfg` objects are not passed on from here."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from hydra.utils import get_class, instantiate
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig, OmegaConf

from recsys.data.datamodule import RatingDataModule
from recsys.data.inference.finding import AUTO
from recsys.database.passwords import redacted_settings
from recsys.evaluation.cases import check_targets
from recsys.evaluation.error_analysis import analyse
from recsys.evaluation.evaluate import evaluate, evaluate_ranking
from recsys.evaluation.fit_lists import with_lists
from recsys.evaluation.holdout import predict_test_set
from recsys.evaluation.prequential import check_evaluation, prequential
from recsys.evaluation.registry import RMSE
from recsys.evaluation.validation_set import FILE as VALIDATION
from recsys.files import read_json, write_json
from recsys.models.base import RatingModel
from recsys.training.checkpoints import (
    BEST,
    LAST,
    DamagedCheckpointError,
    former,
    load_best,
    remove_formers,
)
from recsys.training.context import SINGLE_RUN, RunContext
from recsys.training.errors import PrunedError
from recsys.training.export import make_bundle, validation_set
from recsys.training.feedback import check_feedback
from recsys.training.fits import FitJob, fitted
from recsys.training.inferred import record, sentences
from recsys.training.lists import learned_lists
from recsys.training.options import left_out_of_refit
from recsys.training.plots import error_by_activity, learning_curve
from recsys.training.settings import check_settings, named
from recsys.training.threads import choose_threads
from recsys.training.trainer import check_training, device_name, quiet_libraries
from recsys.training.wandb import WandbTracker
from recsys.training.widths import learned_widths, served_form

log = logging.getLogger(__name__)


@dataclass
class Selection:
    """Result of the first fit, selected on validation rows."""

    learning_rates: list[float]  # at the start of each epoch up to the best
    figures: dict[str, float | None]  # validation metrics at the best epoch
    seconds: float

    @property
    def epochs(self) -> int:
        return len(self.learning_rates)

    def has(self, figure: str) -> bool:
        """Whether the figure is among them and all fields are of their types, unlike those of a damaged file."""
        return (
            isinstance(self.learning_rates, list)
            and isinstance(self.figures, dict)
            and all(isinstance(n, float | int) for n in (*self.learning_rates, self.figures.get(figure), self.seconds))
        )


def run(cfg: DictConfig, folder: Path, context: RunContext = SINGLE_RUN) -> dict[str, Any]:
    """Select, refit, evaluate and export in `folder`, or resume there. Returns the content of `metrics.json`."""
    quiet_libraries()
    check_settings(cfg)
    evaluation = cfg.get("evaluation", "standard")  # missing in resumed runs of older versions
    items = cfg.get("items", "frozen")
    check_evaluation(evaluation, None if cfg.data.split == AUTO else cfg.data.split, items)
    targets = cfg.get("targets", "all")
    check_targets(targets, None if cfg.data.split == AUTO else cfg.data.split)
    compress = cfg.get("compress")  # missing in resumed runs of older versions
    check_training(cfg, folder)
    torch.set_num_threads(choose_threads(cfg.get("threads")))
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    loggers = [logger for logger in instantiate(cfg.logger).values() if logger is not None]
    with tracked(loggers, cfg, context) as trackers:
        data = build_data(cfg)
        data.prepare_data()
        data.setup()
        check_evaluation(evaluation, data.split_name)
        check_targets(targets, data.split_name)
        cfg = _say_and_record(cfg, data, folder, trackers, context)
        check_feedback(cfg, data)
        if cfg.model.get("query_time"):
            log.warning("model.query_time=true: figures know when each question is asked, which a service is not told")
        log.info("%s: %s ratings to train on, %s to validate on, %s to test on", data.dataset.name,
                 *(f"{len(rows):,}" for rows in (data.split.train, data.split.val, data.split.test)))  # fmt: skip
        selection, model = select(cfg, data, folder, loggers, context)
        seconds = selection.seconds
        # A point estimate has no noise estimate of its own, so use the validation RMSE.
        noise = selection.figures.get(RMSE.validation_key)
        lists = learned_lists(model, data, folder / "checkpoints", noise)
        rule = learned_widths(model, data, folder / "checkpoints", noise) if isinstance(compress, str) else None
        measured = None
        for fit_on in {"none": [], "train_val": ["train_val"], "all": ["train_val", "all"]}[cfg.refit]:
            if fit_on == "all":  # includes the test rows, so evaluate the model before
                measured = with_lists(make_bundle(model, data, noise), lists)
            data = data.with_fit_on(fit_on)
            model, spent = refit(cfg, data, selection, folder, context)
            seconds += spent
        bundle = with_lists(make_bundle(model, data, noise), lists)
        measured = measured or bundle
        whole = {}
        if compress is not None:  # evaluate the compressed bundle, and record the RMSE without compression
            whole["test/rmse_uncompressed"] = evaluate(measured)["test/rmse"]
            served = with_lists(served_form(bundle, compress, noise, rule), lists)
            same = measured is bundle
            measured = served if same else with_lists(served_form(measured, compress, noise, rule), lists)
            bundle = served
        test = None if measured.is_ranking else predict_test_set(measured)
        analysis = analyse(measured, test) if test else {}  # of rating errors, so not for ranking models
        metrics = {
            **selection.figures,
            **evaluate(measured, test, ranking=bool(cfg.get("ranking")), folder=folder),
            **(evaluate_ranking(measured, targets, folder=folder) if targets != "all" else {}),
            **(prequential(measured, test, items) if evaluation == "prequential" else {}),
            **whole,
            "fit_seconds": round(seconds, 3),
            "epochs": selection.epochs,
            "refit": cfg.refit,
            "test_figures_of": "train" if cfg.refit == "none" else "train_val",
            "split": data.split_name,
            "device": device_name(cfg),
            **{name: bundle.manifest[name] for name in ("model", "data", "git_commit", "data_sha256")},
        }
        if analysis:
            write_json(folder / "analysis.json", analysis)
        # In a sweep the report shows these curves, and plotting would be half of a job's overhead.
        if trackers or not context.in_sweep:
            learning_curve(folder / "metrics.csv", folder / "learning_curve.png")
            if analysis:
                error_by_activity(analysis, folder / "error_by_activity.png")
        replace(bundle, manifest=bundle.manifest | {"metrics": metrics}).save(folder / "bundle")
        for tracker in trackers:
            tracker.results(metrics, analysis, folder, aliases=["best"] if context.is_best(metrics) else [])
    write_json(folder / "metrics.json", metrics)
    remove_formers(folder / "checkpoints")
    return metrics


@contextmanager
def tracked(loggers: list[Logger], cfg: DictConfig, context: RunContext) -> Iterator[list[WandbTracker]]:
    """Start the experiment trackers among the loggers, and close them in any case."""
    trackers = [logger for logger in loggers if isinstance(logger, WandbTracker)]
    exit_code = 1
    try:
        for tracker in trackers:
            tracker.begin(_public(cfg), context.name, context.group)
        yield trackers
        exit_code = 0
    except PrunedError:
        exit_code = 0
        raise
    finally:
        for tracker in trackers:  # otherwise the next job of a sweep would continue this tracker run
            tracker.close(exit_code)


def _public(cfg: DictConfig) -> dict[str, Any]:
    """The configuration without what may hold folders or a password."""
    config = redacted_settings(OmegaConf.to_container(cfg))
    for private in ("callbacks", "logger", "run_dir", "overrides", "resume"):
        config.pop(private, None)
    config["data"] = {key: value for key, value in config["data"].items() if key not in ("root", "url")}
    return {str(key): value for key, value in config.items()}


def _say_and_record(
    cfg: DictConfig, data: RatingDataModule, folder: Path, trackers: list[WandbTracker], context: RunContext
) -> DictConfig:
    """Say once what was inferred from the data and what became of their rows; the configuration with it."""
    lines = sentences(data.findings)
    if data.dataset.counts is not None:
        lines.append(data.dataset.counts.sentence(data.source.origin))
    if context.says_first("\n".join(lines)):
        for line in lines:
            log.info("%s", line)
            if context.in_sweep:  # where log lines go to files only
                print(line, flush=True)
    recorded = record(cfg, dict(data.dataset.settled) | {one.option: one.value for one in data.findings}, folder)
    if recorded is not cfg:
        for tracker in trackers:
            tracker.configure(_public(recorded))
    return recorded


def build_data(cfg: DictConfig) -> RatingDataModule:
    """Build the data module; keys of `data` that are not its own arguments go to the source.

    Raises:
        ValueError: An argument of the source has the same name as one of the data module.
    """
    own = set(inspect.signature(RatingDataModule).parameters) - {"source"}
    arguments = OmegaConf.to_container(cfg.data, resolve=True)
    assert isinstance(arguments, dict)
    if both := own & set(inspect.signature(get_class(arguments["_target_"])).parameters):
        taken = ", ".join(f"data.{name}" for name in sorted(both))
        raise ValueError(f"{arguments['_target_']}: {taken} belongs to the data module; rename the source's argument")
    with named("data", arguments):
        source = instantiate({key: value for key, value in arguments.items() if key not in own})
        return RatingDataModule(source, **{str(key): value for key, value in arguments.items() if key in own})


def select(
    cfg: DictConfig, data: RatingDataModule, folder: Path, loggers: list[Logger], context: RunContext = SINGLE_RUN
) -> tuple[Selection, RatingModel]:
    """Fit on training rows with validation. Returns the selection to replay, and with `refit=none` the best model."""
    checkpoints = folder / "checkpoints"
    done = checkpoints / "selection.json"
    is_resumed = done.exists() or (checkpoints / LAST).exists()
    job = FitJob(cfg, folder, context.in_sweep)
    model = job.model(data)
    selection = finished_selection(done, model.monitor.validation_key)
    if selection is None:
        model, record, found = fitted(job, data, loggers)
        if not record.validated:
            raise ValueError(
                f"training ended after {found.steps} steps, before its first validation (an epoch has "
                f"{found.batches} batches): raise trainer.max_steps or trainer.max_time"
            )
        best = record.epochs[record.best]
        figures: dict[str, float | None] = {model.monitor.validation_key: best[model.monitor.validation_key]}
        selection = Selection(record.path, figures, record.seconds)
        write_json(done, asdict(selection))
        (folder / VALIDATION).unlink(missing_ok=True)
    predicts = model.task == "rating" and not (folder / VALIDATION).exists()
    if cfg.refit == "none" or predicts:  # else another model takes this one's place
        try:
            load_best(model, checkpoints)
        except (DamagedCheckpointError, FileNotFoundError) as error:
            if cfg.refit != "none":
                log.warning("%s: no ensemble can be made of this run, whose %s is missing", error, VALIDATION)
                return selection, model
            if not is_resumed:
                raise
            log.warning("%s: the model is selected again", error)
            for name in (LAST, former(Path(LAST)).name, BEST, done.name):
                (checkpoints / name).unlink(missing_ok=True)
            return select(cfg, data, folder, loggers, context)
    if predicts:
        validation_set(model, data).save(folder)
    label, figure = model.monitor.label, selection.figures[model.monitor.validation_key]
    log.info("best validation %s %.4f (epoch %d)", label, figure, selection.epochs)
    return selection, model


def finished_selection(file: Path, figure: str) -> Selection | None:
    """The selection that the file holds, by this figure; None if there is none, or if it is damaged."""
    content = read_json(file)
    if content is None:
        return None
    with suppress(TypeError):
        selection = Selection(**content)
        if selection.has(figure):
            return selection
    log.warning("%s is damaged (it holds other keys or types) and made again", file)
    return None


def refit(
    cfg: DictConfig, data: RatingDataModule, selection: Selection, folder: Path, context: RunContext = SINGLE_RUN
) -> tuple[RatingModel, float]:
    """Fit a new model on `data.fit_rows`, replaying the selection's learning rates. Returns it and the fit time."""
    log.info("refit on %s ratings", f"{len(data.fit_rows):,}")
    if others := ", ".join(left_out_of_refit(cfg)):
        log.warning("the refit repeats epochs and learning rates without %s; refit=none keeps the model with", others)
    job = FitJob(cfg, folder, context.in_sweep, tuple(selection.learning_rates))
    model, record, _ = fitted(job, data, [])
    return model, record.seconds
