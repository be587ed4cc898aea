"""A bundle of other data does not take the place of the one in service in silence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from recsys.bundle import Bundle, BundleError
from serve.models.model_manager import ModelManager
from serve.models.pointer import read_pointer, write_pointer
from serve.models.replacement import check_replacement, shares
from serve.promote import main, promote
from serve.settings import Settings
from tests.serve.conftest import ITEM_NAMES, ITEMS, USER_NAMES, USERS, rich, save

OTHER_USERS, OTHER_ITEMS = [user - 10**6 for user in USERS], [item - 10**6 for item in ITEMS]


def titled(bundle: Bundle, titles: list[str]) -> Bundle:
    return replace(bundle, items=[about | {"title": t} for about, t in zip(bundle.items, titles, strict=True)])


def grown() -> Bundle:
    """The data of `rich`, with two more users, under another name."""
    return rich([*USERS[:6], 77, 78], data="small-2027-01")


@pytest.mark.parametrize(
    ("users", "items", "wanted"),
    [
        (USERS, ITEMS, (1, 1)),
        (OTHER_USERS, OTHER_ITEMS, (0, 0)),
        ([*USERS[:4], *OTHER_USERS[4:]], ITEMS, (0.5, 1)),
        ([*USERS[:3], *OTHER_USERS[3:]], ITEMS, (0.375, 1)),
        (USERS, [*ITEMS[:6], *OTHER_ITEMS[6:]], (1, 6 / 14)),
    ],
)
def test_half_of_the_users_and_of_the_items_are_needed(
    users: list[int], items: list[int], wanted: tuple[float, float]
) -> None:
    served, new = rich(), rich(users, items, seed=1)
    assert shares(served, new) == pytest.approx(wanted)
    if min(wanted) >= 0.5:
        check_replacement(served, new, "new")
        return
    said = rf"new is of other data .* {wanted[0]:.0%} of the 8 users and {wanted[1]:.0%} of the 14 items .*--other-data"
    with pytest.raises(BundleError, match=said):
        check_replacement(served, new, "new")
    check_replacement(served, new, "new", other_data=True)


def test_data_that_grew_or_has_another_name_is_the_same() -> None:
    check_replacement(rich(), grown(), "grown")


def test_the_same_numbers_with_other_titles_are_other_items() -> None:
    served = titled(rich(), [f"Film {row}" for row in range(14)])
    with pytest.raises(BundleError, match="100% of the 8 users and 0% of the 14 items"):
        check_replacement(served, rich(), "new")
    for same in ("{} (1999)", "  FILM {row}", "", "\u202e"):  # a year more, spelling, no title
        check_replacement(served, titled(rich(), [same.format(f"film {row}", row=row) for row in range(14)]), "new")
        check_replacement(titled(rich(), [same.format(f"film {row}", row=row) for row in range(14)]), served, "new")


def test_another_kind_of_id_is_refused_whatever_is_said() -> None:
    with pytest.raises(BundleError, match="ids of another type"):
        check_replacement(rich(), rich(USER_NAMES, ITEM_NAMES), "new", other_data=True)


def test_promote_and_a_running_service_refuse_it_unless_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pointer = tmp_path / "serving"
    first, other = save(rich(), tmp_path / "first"), save(rich(OTHER_USERS, OTHER_ITEMS), tmp_path / "other")
    promote(first, pointer)
    models = ModelManager.from_settings(Settings(pointer=pointer))
    with pytest.raises(BundleError, match="other data"):
        promote(other, pointer)
    assert read_pointer(pointer).folder == first
    write_pointer(pointer, other)  # by hand
    assert models.poll() is None
    assert models.last_error is not None
    assert "other data" in models.last_error
    write_pointer(pointer, first)
    assert (models.poll(), models.last_error) == (None, None)
    write_pointer(pointer, other)
    assert models.poll() is None
    write_pointer(pointer, first)

    monkeypatch.setattr("sys.argv", ["promote", str(other), "--pointer", str(pointer)])
    with pytest.raises(SystemExit, match=r"^error: [^\n]*--other-data[^\n]*$"):
        main()
    monkeypatch.setattr("sys.argv", ["promote", str(other), "--pointer", str(pointer), "--other-data"])
    main()
    assert str(other) in capsys.readouterr().out
    swapped = models.poll()  # at once, although it was refused before
    assert swapped is not None
    assert swapped.users.row(str(OTHER_USERS[0])) == 0
    assert read_pointer(pointer).other_data == swapped.version
    save(rich(), other)  # the permission is that version's alone
    assert models.poll() is None
    assert "is not the one wanted" in models.last_error  # type: ignore[operator]
    write_pointer(pointer, other, other_data=swapped.version)
    assert models.poll() is None
    assert "other data" in models.last_error  # type: ignore[operator]


def test_promote_takes_data_that_grew(tmp_path: Path) -> None:
    pointer = tmp_path / "serving"
    promote(save(rich(), tmp_path / "first"), pointer)
    models = ModelManager.from_settings(Settings(pointer=pointer))
    promote(save(grown(), tmp_path / "grown"), pointer)
    assert models.poll() is models.current
    assert models.current.bundle.manifest["data"] == "small-2027-01"
