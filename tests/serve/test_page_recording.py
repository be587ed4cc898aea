"""Ratings that the page records: under a name for someone new, for those whom the model knows, withdrawn, unsaved."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from recsys.bundle import Bundle
from recsys.database import Database
from recsys.events import EventLog, StoredEvent
from serve import keys
from tests.browser import Window, browser, expect  # noqa: F401  (a fixture)
from tests.serve.conftest import save
from tests.serve.test_page import MARKUP, enter_key, fulfil, give, served, titles, two_tastes

pytestmark = pytest.mark.long


def named_users() -> Bundle:
    """Users 100 to 111 and items 0 to 29 whose ids are texts."""
    bundle = two_tastes(id_kind="str")
    ids = {"user_ids": np.array([str(one) for one in bundle.user_ids], object)}
    return replace(bundle, item_ids=np.array([str(one) for one in bundle.item_ids], object), **ids)


class Live(NamedTuple):
    """A service with a database."""

    address: str
    database: str

    def events(self, user_id: str) -> list[StoredEvent]:
        """What is in the database of a user."""
        database = Database.open(self.database)
        try:
            return EventLog(database).of_user(user_id)
        finally:
            database.close()

    def ratings(self, user_id: str) -> list[tuple[str, float | None]]:
        """Items and stars of a user's events; None: withdrawn."""
        return [(event.item_id, event.rating) for event in self.events(user_id)]


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("live")
    database = f"sqlite:///{folder}/recsys.db"
    with served(bundle=save(named_users(), folder / "bundle"), database=database) as address:
        yield Live(address, database)


@pytest.fixture(scope="module")
def window(browser: Any, live: Live) -> Window:  # noqa: F811
    return Window(browser, base_url=live.address)


@pytest.fixture
def page(window: Window) -> Iterator[Any]:
    """A blank page; afterwards: nothing was wrong in the console."""
    yield window.page
    wrong = [text for kind, text in window.console if kind in ("error", "warning")]
    window.clear()
    window.page.goto("about:blank")
    assert [text for text in wrong if not text.startswith("Failed to load resource")] == []


def begin(page: Any, user: str) -> None:
    """Be somebody whom neither the model nor the database knows, about to search for titles to rate."""
    page.goto(f"/#user={user}&rate=1")
    expect(page.locator("#n-ratings")).to_have_text("No ratings yet.")
    page.locator("#search").focus()


def save_as(page: Any, name: str) -> None:
    page.get_by_label("Save them under a name").fill(name)
    page.get_by_role("button", name="Save", exact=True).click()


def row(page: Any, title: str) -> Any:
    """The row of a title in the list to change."""
    return page.locator("#profile li").filter(has=page.get_by_role("link", name=title, exact=True))


def rate(page: Any, title: str, stars: int) -> None:
    row(page, title).locator("label", has=page.locator(f"[value='{stars}']")).click()


def test_someone_new_saves_their_ratings_under_a_name_and_is_a_user(page: Any, live: Live) -> None:
    page.goto("/#new")
    expect(page.locator("#name-form")).to_be_hidden()
    page.locator("#search").focus()
    give(page, "film 2", "5")
    give(page, "film 4", "4")
    give(page, "film 3", "1")
    expect(page.locator("#name-form")).to_contain_text("in this tab only")
    save_as(page, "  Anna K. ")
    expect(page.locator("#results-name")).to_have_text("Recommended for user Anna K.")
    expect(page.locator("#n-ratings")).to_have_text("3 ratings, 3.33 on average")
    expect(page.locator("#profile .saved")).to_have_text(["Saved"] * 3)
    assert titles(page)
    expect(page.locator(".because").first).to_contain_text("Because you gave 5 to Film 2")
    events = live.events("Anna K.")
    assert [(event.item_id, event.kind, event.rating) for event in events] == [
        ("2", "rating", 5.0), ("4", "rating", 4.0), ("3", "rating", 1.0)
    ]  # fmt: skip
    assert all(re.fullmatch("[0-9a-f]{32}", event.event_id) for event in events)
    assert all(abs(event.timestamp - time.time()) < 60 for event in events)
    page.get_by_role("tab", name="New user").click()
    expect(page.locator("#given li")).to_have_count(0)
    page.go_back()
    page.evaluate("sessionStorage.clear()")  # as on another day
    page.reload()
    expect(page.locator("#profile li")).to_have_count(3)
    expect(row(page, "Film 2").locator(":checked")).to_have_value("5")


def test_a_name_that_is_taken_or_none_is_said(page: Any, live: Live) -> None:
    page.goto("/#new")
    page.locator("#search").focus()
    give(page, "film 2", "5")
    save_as(page, "104")
    fault = page.locator("#name-fault")
    expect(fault).to_have_text("This name is taken. Choose another one.")
    expect(page.get_by_label("Save them under a name")).to_be_focused()
    save_as(page, "  ")
    expect(fault).to_have_text("Enter a name.")
    page.get_by_label("Save them under a name").fill("M")
    expect(fault).to_be_hidden()
    assert live.events("104") == []


def test_a_known_user_rates_more_withdraws_and_changes_their_mind(page: Any, live: Live) -> None:
    page.goto("/#user=104")
    expect(page.locator("#profile")).to_contain_text("14 ratings")
    expect(page.locator("#search")).to_be_hidden()
    page.get_by_role("button", name="Change").click()
    assert page.url.endswith("#user=104&rate=1")
    before = titles(page)
    page.locator("#search").focus()
    give(page, "film 1 ", "5")
    expect(page.locator("#n-ratings")).to_contain_text("15 ratings")
    expect(row(page, "Film 1").locator(".state")).to_have_text("Saved")
    assert "Film 1" not in titles(page)
    assert titles(page) != before
    rate(page, "Film 1", 2)
    row(page, "Film 1").get_by_role("button", name="Withdraw").click()
    expect(row(page, "Film 1")).to_contain_text("Withdrawn")
    expect(page.locator("#n-ratings")).to_contain_text("14 ratings")
    row(page, "Film 1").get_by_role("button", name="Undo").click()
    expect(page.locator("#n-ratings")).to_contain_text("15 ratings")
    expect(row(page, "Film 1").locator(":checked")).to_have_value("2")
    expect(row(page, "Film 1").locator(".state")).to_have_text("Saved")
    assert live.ratings("104") == [("1", 5.0), ("1", 2.0), ("1", None), ("1", 2.0)]
    page.get_by_role("button", name="Done").click()
    expect(page.locator("#profile")).to_contain_text("Highest rated")
    expect(page.locator("#profile fieldset")).to_have_count(0)


def test_an_old_rating_is_withdrawn_and_its_title_recommended_again(page: Any, live: Live) -> None:
    page.goto("/#user=102&rate=1&k=30")
    expect(page.locator("#n-ratings")).to_contain_text("14 ratings")
    first = page.locator("#profile li").first
    title = first.locator("a").inner_text()
    first.get_by_role("button", name="Withdraw").click()
    expect(row(page, title)).to_contain_text("Withdrawn")
    expect(page.locator("#n-ratings")).to_contain_text("13 ratings")
    assert title in titles(page)
    page.reload()
    expect(page.locator("#n-ratings")).to_contain_text("13 ratings")
    [event] = live.events("102")
    assert (event.kind, event.rating) == ("withdrawal", None)


def test_stars_in_the_panel_are_recorded(page: Any, live: Live) -> None:
    page.goto("/#user=106&rate=1&item=1")
    panel = page.get_by_role("dialog")
    panel.locator(".picker label").nth(3).click()
    expect(panel.locator(".state")).to_have_text("Saved")
    panel.get_by_role("button", name="Withdraw").click()
    expect(panel.locator(".state")).to_have_text("Saved")
    expect(panel.locator(":checked")).to_have_count(0)
    assert live.ratings("106") == [("1", 4.0), ("1", None)]
    page.keyboard.press("Escape")
    expect(row(page, "Film 1")).to_contain_text("Withdrawn")


def test_another_user_is_not_changed_by_accident(page: Any) -> None:
    page.goto("/#user=104&rate=1")
    expect(page.locator("#profile fieldset").first).to_be_visible()
    page.locator("#examples a").last.click()
    expect(page.locator("#profile")).to_contain_text("Highest rated")
    expect(page.locator("#profile fieldset")).to_have_count(0)
    assert "rate" not in page.url


def test_what_the_service_does_not_take_is_unsaved_until_it_does(page: Any, live: Live) -> None:
    begin(page, "unlucky")
    page.route("**/events/", fulfil(503, "database_unavailable", "the database does not answer; try again"))
    give(page, "film 2", "5")
    expect(page.get_by_role("alert")).to_have_text(re.compile(r"The service.s database does not answer\.\s*Try again$"))
    expect(row(page, "Film 2").locator(".state")).to_have_text("Not saved yet")
    give(page, "film 4", "3")
    expect(page.locator("#profile .waiting")).to_have_count(2)
    assert live.events("unlucky") == []
    page.unroute_all()
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#profile .saved")).to_have_count(2)
    expect(page.get_by_role("alert")).to_be_empty()
    assert live.ratings("unlucky") == [("2", 5.0), ("4", 3.0)]


def test_an_answer_that_got_lost_doubles_nothing(page: Any, live: Live) -> None:
    begin(page, "twice")

    def lose(route: Any) -> None:
        route.fetch()
        route.abort()

    page.route("**/events/", lose, times=1)
    give(page, "film 2", "5")
    expect(page.get_by_role("alert")).to_contain_text("The service is not responding")
    assert live.ratings("twice") == [("2", 5.0)]
    page.get_by_role("button", name="Try again").click()
    expect(row(page, "Film 2").locator(".state")).to_have_text("Saved")
    assert live.ratings("twice") == [("2", 5.0)]


def test_what_is_unsaved_is_sent_when_the_page_is_opened_again(page: Any, live: Live) -> None:
    begin(page, "later")
    page.route("**/events/", lambda route: route.abort())
    give(page, "film 2", "5")
    expect(page.locator("#profile .waiting")).to_have_count(1)
    asked = []
    page.once("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept()))
    page.unroute_all()
    page.reload()
    expect(row(page, "Film 2").locator(".state")).to_have_text("Saved")
    assert asked == ["beforeunload"]
    assert live.ratings("later") == [("2", 5.0)]


def test_what_is_refused_is_said_and_not_sent_again(page: Any, live: Live) -> None:
    begin(page, "refused")
    page.route("**/events/", fulfil(400, "rating_off_scale", "rating must be in [2, 4]"))
    give(page, "film 2", "5")
    expect(page.get_by_role("alert")).to_have_text("rating must be in [2, 4]")
    expect(row(page, "Film 2").locator(".state")).to_have_text("Not saved")
    page.unroute_all()
    give(page, "film 4", "3")
    expect(row(page, "Film 4").locator(".state")).to_have_text("Saved")
    assert live.ratings("refused") == [("4", 3.0)]


def test_ratings_follow_the_service_s_clock(page: Any, live: Live) -> None:
    page.add_init_script("const real = Date.now; Date.now = () => real() - 1e9")  # eleven days slow
    begin(page, "slow")
    give(page, "film 2", "5")
    expect(page.locator("#profile .saved")).to_have_count(1)
    [event] = live.events("slow")
    assert abs(event.timestamp - time.time()) < 60


def test_what_others_changed_meanwhile_is_shown(page: Any) -> None:
    begin(page, "shared")
    give(page, "film 2", "5")
    give(page, "film 4", "5")
    expect(page.locator("#profile .saved")).to_have_count(2)
    events = [
        {"event_id": f"other-{item}", "user_id": "shared", "item_id": item, "timestamp": int(time.time()) + 5} | change
        for item, change in {"2": {"rating": 1}, "4": {"kind": "withdrawal"}}.items()
    ]
    assert page.request.post("/events/", data={"events": events}).ok
    page.reload()
    expect(page.locator("#profile li")).to_have_count(1)
    expect(row(page, "Film 2").locator(":checked")).to_have_value("1")


def test_long_names_and_markup_are_text_that_fits_a_phone(page: Any) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    page.goto("/#new")
    page.locator("#search").focus()
    give(page, "bold", "5")
    name = f"{MARKUP}{'M' * 60}"
    save_as(page, name)
    expect(page.locator("#results-name")).to_have_text(f"Recommended for user {name}")
    row(page, MARKUP).get_by_role("button", name="Withdraw").click()
    expect(row(page, MARKUP)).to_contain_text("Withdrawn")
    assert page.locator("#panel b", has_text="Bold").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_users_that_are_numbers_get_one_suggested(page: Any, tmp_path: Path) -> None:
    with served(bundle=save(two_tastes(), tmp_path / "bundle"), database=f"sqlite:///{tmp_path}/recsys.db") as address:
        page.goto(f"{address}/#new")
        page.locator("#search").focus()
        give(page, "film 2", "5")
        field = page.get_by_label("Save them as user")
        number = field.input_value()
        assert re.fullmatch("[0-9]+", number)
        field.fill("Anna")
        page.get_by_role("button", name="Save", exact=True).click()
        expect(page.locator("#name-fault")).to_contain_text("Enter a whole number")
        field.fill(number)
        page.get_by_role("button", name="Save", exact=True).click()
        expect(page.locator("#results-name")).to_have_text(f"Recommended for user {number}")


def test_chosen_titles_are_recorded_without_stars(page: Any, tmp_path: Path) -> None:
    explicit = two_tastes(task="ranking", rating_scale=[0.0, 1.0], fold_in_target=1.0, noise=None)
    implicit = replace(explicit, ratings=explicit.ratings._replace(rating=np.ones_like(explicit.ratings.rating)))
    live = Live("", f"sqlite:///{tmp_path}/recsys.db")
    with served(bundle=save(implicit, tmp_path / "bundle"), database=live.database) as address:
        page.goto(f"{address}/#user=104&rate=1")
        expect(page.locator("#n-ratings")).to_have_text("14 titles")
        page.locator("#search").press_sequentially("film 1 ")
        expect(page.locator("#found li").first).to_contain_text("Film 1")
        page.keyboard.press("Enter")
        expect(page.locator("#n-ratings")).to_have_text("15 titles")
        row(page, "Film 1").get_by_role("button", name="Withdraw").click()
        expect(page.locator("#n-ratings")).to_have_text("14 titles")
        assert [(event.kind, event.rating) for event in live.events("104")] == [("choice", None), ("withdrawal", None)]
        page.goto(f"{address}/#user=104&rate=1&item=1")
        panel = page.get_by_role("dialog")
        for label in ("Add", "Remove"):
            panel.get_by_role("button", name=label).click()
        expect(page.locator("#n-ratings")).to_have_text("14 titles")
        assert [event.kind for event in live.events("104")] == 2 * ["choice", "withdrawal"]


def test_without_histories_what_is_rated_here_can_be_changed_here(page: Any, tmp_path: Path) -> None:
    bundle, database = save(named_users(), tmp_path / "bundle"), f"sqlite:///{tmp_path}/recsys.db"
    with served(bundle=bundle, database=database, expose_user_ratings=False) as address:
        page.goto(f"{address}/#new")
        page.locator("#search").focus()
        give(page, "film 2", "5")
        give(page, "film 4", "5")
        save_as(page, "104")
        expect(page.locator("#name-fault")).to_contain_text("taken")
        save_as(page, "Anna")
        expect(page.locator("#profile .saved")).to_have_count(2)
        expect(page.locator("#profile")).to_contain_text("does not expose")
        assert titles(page)
        expect(page.locator("#notes")).to_be_empty()
        rate(page, "Film 2", 1)
        expect(page.locator("#profile .saved")).to_have_count(2)
        page.reload()
        expect(row(page, "Film 2").locator(":checked")).to_have_value("1")


def test_a_key_that_may_not_record_is_offered_nothing(page: Any, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    reading = keys.add(file, "reading", frozenset({"predict", "histories"}))
    writing = keys.add(file, "writing", frozenset({"predict", "histories", "events"}))
    bundle, database = save(named_users(), tmp_path / "bundle"), f"sqlite:///{tmp_path}/recsys.db"
    with served(bundle=bundle, database=database, keys=file) as address:
        page.goto(f"{address}/#user=104&rate=1")
        enter_key(page, reading)
        assert titles(page)
        expect(page.locator("#profile")).to_contain_text("Highest rated")
        expect(page.get_by_role("button", name="Change")).to_have_count(0)
        page.get_by_role("button", name="Forget key").click()
        enter_key(page, writing)
        expect(page.locator("#profile fieldset").first).to_be_visible()
