from __future__ import annotations

from recsys.experiments.sweep_folder import current_override


def test_overrides_of_older_versions_keep_their_meaning() -> None:
    assert current_override("hydra/launcher=joblib") == "hydra/launcher=parallel"
    assert current_override("experiment=seed_mf") == "experiment=original_mf"
    assert current_override("seed=1") == "seed=1"
