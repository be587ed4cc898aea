"""What is beyond a budget is refused with the name of the limit and of its setting."""

from __future__ import annotations

from pathlib import Path

import pytest

from recsys.bundle import Budget, Bundle, BundleError


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"bytes": 1000}, r"has [\d,]+ bytes, the limit is 1,000 \(RECSYS_MAX_BUNDLE_BYTES\)"),
        ({"memory": 20_000}, r"takes about [\d,]+ bytes of memory, the limit is 20,000 \(RECSYS_MAX_BUNDLE_MEMORY\)"),
        ({"work": 5}, r"takes as long as [\d,]+ multiplications, the limit is 5 \(RECSYS_MAX_BUNDLE_WORK\)"),
        ({"manifest_bytes": 100}, r"manifest\.json has .* bytes, the limit is 100 \(manifest_bytes of recsys"),
        ({"items_bytes": 100}, r"items\.json has .* bytes, the limit is 100"),
        ({"header_bytes": 100}, r"factors\.safetensors has a header of [\d,]+ bytes, the limit is 100"),
        ({"arrays": 3}, r"factors\.safetensors has 8 arrays, the limit is 3"),
        ({"depth": 2}, r"manifest\.json is nested in 3 levels, the limit is 2"),
        ({"manifest_values": 10}, r"manifest\.json has about \d+ values, the limit is 10"),
        ({"values": 20}, r"items\.json has about \d+ values, the limit is 20|factors.safetensors has about"),
        ({"samples": 0}, r"has 1 samples, the limit is 0"),
        ({"genres": 0}, r"has 1 genres, the limit is 0"),
        ({"text": 5}, r"task in the manifest has 6 characters, the limit is 5"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_each_limit_is_named_with_its_setting(saved: Path, limits: dict[str, int], message: str) -> None:
    with pytest.raises(BundleError, match=message) as error:
        Bundle.load(saved, budget=Budget(**limits))
    assert "\n" not in str(error.value)
    Bundle.load(saved, budget=Budget())


def test_the_environment_sets_the_main_ones(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECSYS_MAX_BUNDLE_BYTES", "1000")
    assert Budget.from_environment() == Budget(bytes=1000)
    with pytest.raises(BundleError, match="the limit is 1,000"):
        Bundle.load(saved)
    for wrong in ("0", "-1", "1e9", "2G", "٣", "9" * 30):
        monkeypatch.setenv("RECSYS_MAX_BUNDLE_BYTES", wrong)
        with pytest.raises(BundleError, match=r"RECSYS_MAX_BUNDLE_BYTES must be a whole number > 0, got '"):
            Bundle.load(saved)
    monkeypatch.setenv("RECSYS_MAX_BUNDLE_BYTES", "")
    assert Budget.from_environment() == Budget()
