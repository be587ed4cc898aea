"""Updates of a database's champion, end to end; refits are a function here, but for one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recsys.bundle import Bundle
from recsys.bundle.factors import Factors
from recsys.database import Database
from recsys.events import Event, EventLog
from recsys.events.merge import merge_ratings
from recsys.files import write_json
from recsys.update import update as module
from recsys.update.distance import Distance
from recsys.update.gate import Verdict
from recsys.update.refit import RefitError
from recsys.update.update import Policy, cut_of, events_since, update
from recsys.versions import Version, VersionConflictError, Versions, open_versions
from recsys.versions.forget import forget
from tests.bundles import history_factors
from tests.update.small import both_sides, bundle_of

CONFIGURATION = {"model": {"_target_": "recsys.models.als.ALS", "warm_start": None}, "data": {}, "run_dir": "before"}
WORSE = Verdict(9, 9, 1.0, 2.0, 0.5, 1.5)


@pytest.fixture
def versions(tmp_path: Path) -> Versions:
    opened = open_versions(Database.open(f"sqlite:///{tmp_path / 'recsys.db'}"), tmp_path / "versions")
    publish(opened, bundle_of(both_sides(samples=2)))
    return opened


@pytest.mark.services
def test_postgresql(
    postgres: str,
    tmp_path: Path,
    policy: Policy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    versions = open_versions(Database.open(postgres), tmp_path / "versions")
    publish(versions, bundle_of(both_sides(samples=2)))
    rate(versions, 30)
    new = update(versions, policy)
    assert new is not None
    assert cut_of(champion(versions)) == new.cut == EventLog(versions.database).cut()
    assert update(versions, policy) is None
    versions.database.close()


@pytest.fixture
def policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Policy:
    monkeypatch.setattr(module, "estimated_distance", lambda *_, **__: Distance(0.01, 0.001))
    return Policy(runs=tmp_path / "runs")


def publish(versions: Versions, bundle: Bundle, cut: int = 0) -> Version:
    version = versions.publish(
        bundle, parent=None, cut=cut, made_by="fit", metrics={}, configuration=CONFIGURATION
    )  # fmt: skip
    versions.promote("champion", version.version, "test", "first")
    return version


def rate(versions: Versions, n: int, first: int = 0) -> None:
    """n ratings, of users and items that are known and new."""
    rows = [
        Event(f"e{k}", str(10 + k % 15), str(100 + (k * 7) % 11), "rating", 1.0 + k % 5, 9000 + k)
        for k in range(first, first + n)
    ]
    assert isinstance(EventLog(versions.database).append(rows)[0], int)


def champion(versions: Versions) -> Bundle:
    return versions.champion().bundle


def test_events_become_part_of_the_champion(versions: Versions, policy: Policy) -> None:
    before = versions.champion().version
    rate(versions, 30)
    new = update(versions, policy)
    assert new is not None
    assert (new.parent, new.cut, new.made_by) == (before.version, 30, "update")
    bundle = champion(versions)
    assert (bundle.sha256, cut_of(bundle)) == (new.version, 30)
    assert {24, 10} <= set(bundle.user_ids.tolist())
    assert bundle.n_items == 11
    assert new.metrics["gate/ratings"] == 3
    assert new.metrics["distance"] == 0.01
    why = versions.aliases.history()[-1].reason
    assert "update on events up to 30. Without the newest tenth: mean loss" in why
    assert "Made once more with all events." in why


def test_ids_may_be_texts(versions: Versions, policy: Policy) -> None:
    bundle = bundle_of(both_sides(samples=2), id_kind="str")
    names = [np.array([str(one) for one in ids.tolist()], object) for ids in (bundle.user_ids, bundle.item_ids)]
    publish(versions, replace(bundle, user_ids=names[0], item_ids=names[1]))
    rate(versions, 30)
    new = update(versions, policy)
    assert new is not None
    assert new.metrics["gate/ratings"] == 3


def test_an_update_names_the_commit_that_made_it(
    versions: Versions, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "git_commit", lambda: "0123456789ab")
    rate(versions, 30)
    new = update(versions, policy)
    assert new is not None
    assert new.git_commit == "0123456789ab"


def test_nothing_counts_twice(versions: Versions, policy: Policy) -> None:
    rate(versions, 30)
    first = update(versions, policy)
    assert update(versions, policy) is None
    rate(versions, 30)  # sent again
    assert update(versions, policy) is None
    rate(versions, 5, first=30)
    second = update(versions, policy)
    assert first is not None
    assert second is not None
    assert (second.parent, second.cut) == (first.version, EventLog(versions.database).cut())
    at_once = merge_ratings(bundle_of(both_sides(samples=2)), EventLog(versions.database).read())
    ours = champion(versions).ratings
    for column, wanted in zip(ours, at_once.ratings, strict=True):
        np.testing.assert_array_equal(column, wanted)


def test_refits_of_versions_that_nobody_names_are_removed(versions: Versions, policy: Policy) -> None:
    """They hold everybody's ratings, of people too who were forgotten since."""
    named = versions.champion().version.short
    kept, gone = [f"{named}-3", "notes", "0123-4"], ["0123456789ab-3"]
    policy.runs.mkdir()
    for name in (*kept, *gone):
        (policy.runs / name / "candidate").mkdir(parents=True)
    assert update(versions, policy) is None
    assert {path.name for path in policy.runs.iterdir()} - {".lock"} == set(kept)


def test_what_was_interrupted_is_made_again(
    versions: Versions, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    rate(versions, 30)
    made: list[str] = []

    def interrupted(alias: str, version: str, *_: Any, **__: Any) -> None:
        made.append(version)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(versions, "promote", interrupted)
        with pytest.raises(KeyboardInterrupt):
            update(versions, policy)
    assert cut_of(champion(versions)) == 0
    new = update(versions, policy)
    assert new is not None
    assert [new.version] == made
    assert len(versions.registry.all()) == 2


def test_a_worse_candidate_is_not_promoted(
    versions: Versions, policy: Policy, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rate(versions, 30)
    monkeypatch.setattr(module, "compare", lambda *_: WORSE)
    with caplog.at_level(logging.WARNING, "recsys.update"):
        assert update(versions, policy) is None
    assert "not promoted, as it is worse: mean loss 2.00000 against the champion's 1.00000" in caplog.text
    assert cut_of(champion(versions)) == 0
    assert len(versions.registry.all()) == 1


def meanwhile(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    """Something happens before each comparison of a candidate with the champion."""
    compared = module.compare

    def after_it(*arguments: Any) -> Verdict:
        happens()
        return compared(*arguments)

    monkeypatch.setattr(module, "compare", after_it)


def test_the_alias_must_not_have_changed_meanwhile(
    versions: Versions, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    rate(versions, 30)
    meanwhile(monkeypatch, lambda: publish(versions, bundle_of(both_sides(samples=2), data="other")))
    with pytest.raises(VersionConflictError, match="it was changed meanwhile"):
        update(versions, policy)
    assert champion(versions).manifest["data"] == "other"


def test_someone_forgotten_meanwhile_is_in_no_version(
    versions: Versions, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    rate(versions, 30)
    meanwhile(monkeypatch, lambda: EventLog(versions.database).forget("24"))
    with pytest.raises(VersionConflictError):
        update(versions, policy)
    monkeypatch.undo()
    assert update(versions, replace(policy, max_distance=1e9)) is not None
    assert 24 not in champion(versions).user_ids.tolist()


def test_only_what_counts_makes_a_version(versions: Versions, policy: Policy) -> None:
    seen = Event("v", "10", "101", "view", None, 9000)
    EventLog(versions.database).append([seen, seen._replace(event_id="w", kind="withdrawal")])
    since = events_since(versions.database, champion(versions))
    assert since is None or since.after.skipped == 1
    assert EventLog(versions.database).cut() == 2


def test_of_a_posterior_some_samples_are_compared(
    versions: Versions, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared, sizes = module.compare, []

    def noted(*given: Any) -> Verdict:
        sizes.extend(bundle.factors.samples for bundle in given[:2])
        return compared(*given)

    monkeypatch.setattr(module, "compare", noted)
    bundle = bundle_of(both_sides(samples=10, noisy=True))
    publish(versions, bundle)
    rate(versions, 30)
    assert update(versions, policy) is not None
    assert sizes == [8, 8]
    new = champion(versions)
    assert new.factors.samples == 10
    merged = merge_ratings(bundle, EventLog(versions.database).read())
    np.testing.assert_array_equal(new.factors.item_factors, module.updated(bundle, merged).factors.item_factors)


def test_few_events_are_an_update_without_a_window(versions: Versions, policy: Policy) -> None:
    rate(versions, 3)
    new = update(versions, policy)
    assert new is not None
    assert (new.cut, new.metrics["gate/ratings"]) == (3, 0)


@pytest.fixture
def refits(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Refits are solves of everything; their folders' names and cuts."""
    made: list[tuple[str, int]] = []

    def refitted(configuration: Mapping[str, Any], folder: Path, database: Database) -> Bundle:
        cut = configuration["data"]["cut"]
        made.append((folder.name, cut))
        folder.mkdir(parents=True, exist_ok=True)
        bundle = Bundle.load(configuration["data"]["bundle"])
        merged = merge_ratings(bundle, EventLog(database).read(cut_of(bundle), cut))
        if bundle.is_ranking:
            items = [{"title": str(item), "year": None, "genres": []} for item in merged.item_ids.tolist()]
            return replace(
                bundle, user_ids=merged.user_ids, item_ids=merged.item_ids, ratings=merged.ratings, items=items
            )
        fitted = module.updated(bundle, merged, sweeps=4)
        keys = {key: value for key, value in fitted.manifest.items() if key not in ("cut", "parent", "made_by")}
        return replace(fitted, manifest=keys, sha256=None)

    monkeypatch.setattr(module, "refitted", refitted)
    return made


def test_a_large_distance_asks_for_a_refit(
    versions: Versions, policy: Policy, refits: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    rate(versions, 30)
    monkeypatch.setattr(module, "estimated_distance", lambda *_, **__: Distance(0.2, 0.01))
    new = update(versions, policy)
    assert new is not None
    assert (new.made_by, new.cut, refits) == ("fit", 30, [("candidate", 27)])
    assert new.metrics["gate/ratings"] == 3  # which the update before has, but not what the refit is compared with
    assert [change.reason.split()[0] for change in versions.aliases.history()] == ["first", "update", "fit"]
    assert list(policy.runs.glob("*-*")) == []


def test_a_refit_is_due_after_some_time(versions: Versions, policy: Policy, refits: list[tuple[str, int]]) -> None:
    rate(versions, 30)
    assert update(versions, replace(policy, refit_seconds=3600.0)) is not None
    assert refits == []
    rate(versions, 30, first=30)
    new = update(versions, replace(policy, refit_seconds=0.0))
    assert new is not None
    assert (new.made_by, new.cut, refits) == ("fit", 60, [("candidate", 54)])
    assert new.metrics["gate/ratings"] == 6
    assert new.metrics["distance_ratio"] == pytest.approx(100 * new.metrics["distance_measured"])
    assert champion(versions).n_users == 15
    assert len(champion(versions).ratings.item) == len(
        merge_ratings(bundle_of(both_sides()), EventLog(versions.database).read()).ratings.item
    )


def test_a_refit_is_compared_with_what_stands_in_for_a_version_before(
    versions: Versions, policy: Policy, refits: list[tuple[str, int]]
) -> None:
    """Each version with somebody who was forgotten has a successor without them."""
    rate(versions, 30)
    assert update(versions, policy) is not None
    forget(versions, "10", "test")
    new = update(versions, replace(policy, refit_seconds=0.0))
    assert new is not None
    assert refits == [("candidate", 28)]  # two of the events were theirs
    assert new.metrics["gate/ratings"] > 0
    assert 10 not in champion(versions).user_ids.tolist()


def test_without_events_since_the_last_fit_there_is_no_refit(
    versions: Versions, policy: Policy, refits: list[tuple[str, int]]
) -> None:
    due = replace(policy, refit_seconds=0.0)
    assert update(versions, due) is None
    rate(versions, 30)
    assert update(versions, due) is not None
    assert update(versions, due) is None
    assert len(refits) == 1


def test_a_refit_has_the_metrics_of_its_run(
    versions: Versions, policy: Policy, refits: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted: Callable[..., Bundle] = module.refitted  # type: ignore[attr-defined]

    def measured(configuration: Mapping[str, Any], folder: Path, database: Database) -> Bundle:
        bundle = fitted(configuration, folder, database)
        write_json(folder / "metrics.json", {"test/rmse": 0.9})
        return bundle

    monkeypatch.setattr(module, "refitted", measured)
    rate(versions, 30)
    new = update(versions, replace(policy, refit_seconds=0.0))
    assert new is not None
    assert new.metrics["test/rmse"] == 0.9


def test_an_interrupted_refit_goes_on_where_it_was(
    versions: Versions, policy: Policy, refits: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    rate(versions, 30)
    due = replace(policy, refit_seconds=0.0)
    fitted: Callable[..., Bundle] = module.refitted  # type: ignore[attr-defined]

    def killed(*arguments: Any) -> Bundle:
        fitted(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "refitted", killed)
        with pytest.raises(KeyboardInterrupt):
            update(versions, due)
    rate(versions, 10, first=30)
    new = update(versions, due)
    assert new is not None
    assert new.cut == 40
    assert refits == [("candidate", 27), ("candidate", 27)]


def test_a_worse_refit_is_not_tried_again_at_once(
    versions: Versions, policy: Policy, refits: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    rate(versions, 30)
    monkeypatch.setattr(module, "compare", lambda *_: WORSE)
    due = replace(policy, refit_seconds=0.0)
    assert update(versions, due) is None
    assert update(versions, replace(due, refit_seconds=1e-9)) is None
    assert update(versions, replace(due, refit_seconds=3600.0)) is None
    assert len(refits) == 2
    assert list(policy.runs.glob("*-*")) == []


def test_a_worse_refit_is_not_tried_again_after_each_update(
    versions: Versions, policy: Policy, refits: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = module.compare
    monkeypatch.setattr(module, "estimated_distance", lambda *_, **__: Distance(0.2, 0.01))
    monkeypatch.setattr(module, "compare", lambda *given: WORSE if refits else compared(*given))
    rate(versions, 30)
    first = update(versions, policy)
    assert first is not None
    assert first.made_by == "update"
    monkeypatch.setattr(module, "compare", compared)
    rate(versions, 30, first=30)
    second = update(versions, policy)
    assert second is not None
    assert (second.made_by, second.parent, len(refits)) == ("update", first.version, 1)


def test_a_worse_refit_of_another_model_is_not_tried_again_at_once(
    versions: Versions, policy: Policy, refits: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(versions, bundle_of(both_sides(), task="ranking"))
    rate(versions, 30)
    monkeypatch.setattr(module, "compare", lambda *_: WORSE)
    assert [update(versions, policy) for _ in range(2)] == [None, None]
    assert len(refits) == 1


def test_a_measured_ratio_counts_for_updates_alike(
    versions: Versions, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[float] = []
    monkeypatch.setattr(
        module, "estimated_distance", lambda _, ratio, **__: (used.append(ratio), Distance(0.0, 0.0))[1]
    )
    version = versions.publish(
        bundle_of(both_sides()), parent=None, cut=0, made_by="fit", metrics={"distance_ratio": 5.0, "sweeps": 1},
        configuration=CONFIGURATION,
    )  # fmt: skip
    versions.promote("champion", version.version, "test", "measured")
    for number, sweeps in enumerate((1, 0, 1)):
        rate(versions, 30, first=30 * number)
        assert update(versions, replace(policy, sweeps=sweeps)) is not None
    assert used == [5.0, 3.3, 14.0]


@pytest.mark.parametrize(
    ("factors", "fold_in", "reason"),
    [
        (both_sides(), "ridge", "a ranking model's rows depend on all others"),
        (history_factors(n_users=12, n_items=9), "items", "its item weights depend on all ratings together"),
    ],
    ids=["ranking", "histories"],
)
def test_other_models_are_fitted_again(
    factors: Factors, fold_in: str, reason: str, versions: Versions, policy: Policy, refits: list[tuple[str, int]],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    publish(versions, bundle_of(factors, task="ranking", fold_in=fold_in))
    rate(versions, 30)
    with caplog.at_level("INFO"):
        new = update(versions, policy)
    assert f"this model can only be fitted again: {reason}" in caplog.text
    assert new is not None
    assert (new.made_by, new.cut) == ("fit", 30)
    assert refits == [("candidate", 27), ("whole", 30)]


def test_a_version_without_a_configuration_cannot_be_fitted_again(versions: Versions, policy: Policy) -> None:
    bundle = bundle_of(both_sides(), task="ranking")
    version = versions.publish(bundle, parent=None, cut=0, made_by="fit", metrics={}, configuration={})
    versions.promote("champion", version.version, "test", "without")
    rate(versions, 30)
    with pytest.raises(RefitError, match="no configuration of a run"):
        update(versions, policy)
