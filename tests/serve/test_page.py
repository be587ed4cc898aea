"""The page in a real browser, against the real service: what someone sees, clicks and types."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import uvicorn

from recsys.bundle import TRAIN, Bundle
from recsys.bundle.factors import Factors
from serve import keys
from serve.app import create_app
from serve.models.model_manager import ModelManager
from serve.models.pointer import write_pointer
from serve.settings import Settings
from tests.browser import Window, browser, expect  # noqa: F401  (a fixture)
from tests.bundles import make_bundle
from tests.serve.conftest import save, until

pytestmark = pytest.mark.long

USERS, ITEMS = 12, 30
MARKUP = '<b>Bold</b> & "quoted"'


def two_tastes(**manifest: Any) -> Bundle:
    """Users and items of two tastes, by parity; everyone has rated some of both. Titles have markup, one no year."""
    user, item = np.arange(USERS), np.arange(ITEMS)
    factors = Factors(
        mu=np.array([3.0], np.float32),
        user_bias=np.zeros((USERS, 1), np.float32),
        item_bias=np.linspace(0.4, -0.4, ITEMS, dtype=np.float32)[:, None],
        user_factors=np.where(user % 2, -1, 1).astype(np.float32)[:, None, None],
        item_factors=np.where(item % 2, -1, 1).astype(np.float32)[:, None, None],
        prior_mean=np.zeros((1, 2), np.float32),
        prior_precision=np.eye(2, dtype=np.float32)[None, None],
        prior_exponent=np.zeros(1, np.float32),
    )
    rated = [
        (u, i, 5.0 if (u + i) % 2 == 0 else 1.0, TRAIN) for u in range(USERS) for i in range(ITEMS) if (u + i // 2) % 2
    ]
    about = {
        "model": "TwoTastes",
        "noise": 0.87,
        "metrics": {"test/rmse": 0.91234},
        "counts": {"users": USERS},
    } | manifest
    bundle = make_bundle(factors, list(range(100, 100 + USERS)), list(range(ITEMS)), rated, **about)
    for i, known in enumerate(bundle.items):
        known |= {"title": f"Film {i} ({1980 + i})", "year": 1980 + i, "genres": ["Even" if i % 2 == 0 else "Odd"]}
    bundle.items[0] |= {"title": MARKUP, "year": None}
    return bundle


@contextlib.contextmanager
def served(**settings: Any) -> Iterator[str]:
    """The address of a service that listens as `python -m serve` does, in a thread."""
    chosen = Settings(**settings)
    app = create_app(chosen, ModelManager.from_settings(chosen))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=1))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, args=[[listening]])
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(bundle=save(two_tastes(), tmp_path_factory.mktemp("service"))) as address:
        yield address


@pytest.fixture
def ranking(tmp_path: Path) -> Iterator[str]:
    """A ranking model that takes in nobody new, of people whose ratings are not shown."""
    bundle = two_tastes(task="ranking", fold_in="none", metrics={"ranking/ndcg@10": 0.12345}, rating_scale=[0.5, 5.0])
    for item in bundle.items:
        item |= {"genres": [], "year": None}
    with served(bundle=save(bundle, tmp_path), expose_user_ratings=False) as address:
        yield address


@pytest.fixture(scope="module")
def window(browser: Any, service: str) -> Window:  # noqa: F811
    return Window(browser, base_url=service)


@pytest.fixture
def page(window: Window) -> Iterator[Any]:
    """A blank page; afterwards: nothing was wrong in the console, and nobody else was asked."""
    yield window.page
    wrong = [text for kind, text in window.console if kind in ("error", "warning")]
    asked = list(window.requested)
    window.clear()
    window.page.goto("about:blank")  # else an address that differs behind the # alone would load nothing
    assert [text for text in wrong if not text.startswith("Failed to load resource")] == []  # a 404 is said there, too
    assert [url for url in asked if not url.startswith(("http://127.0.0.1:", "data:"))] == []


def titles(page: Any) -> list[str]:
    """The recommended titles, once there are some and no answer is awaited."""
    expect(page.locator("#results[aria-busy=false] #recommendations li").first).to_be_visible()
    return page.locator("#recommendations h3").all_inner_texts()  # type: ignore[no-any-return]


def give(page: Any, query: str, stars: str) -> None:
    """Rate a title as someone at the keyboard does: type, Enter, the digit, Enter."""
    expect(page.locator("#search")).to_be_visible()  # keys do not wait until the page is ready
    page.locator("#search").press_sequentially(query)
    expect(page.locator("#found li").first).to_contain_text(query, ignore_case=True)  # not those of its beginning
    for key in ("Enter", stars, "Enter"):
        page.keyboard.press(key)
    expect(page.locator("#search")).to_be_focused()


def test_the_header_names_the_model_its_version_and_its_error(page: Any) -> None:
    version = page.goto("/") and page.request.get("/model").json()["model_version"]
    expect(page.locator("#model-name")).to_have_text("TwoTastes")
    expect(page.locator("#model-data")).to_have_text("small")
    expect(page.locator("#model-version")).to_have_text(version)
    expect(page.locator("#metric")).to_have_text("0.91 stars")


def test_a_user_has_ratings_recommendations_reasons_and_a_distribution(page: Any) -> None:
    page.goto("/")
    page.get_by_label("User id").fill("104")
    page.keyboard.press("Enter")
    expect(page.locator("#profile")).to_contain_text("14 ratings")
    expect(page.locator("#profile li").first).to_contain_text("5")
    assert len(titles(page)) == 10
    likes = [int(re.sub(r"\D", "", title)) for title in titles(page)[:5] if "Film" in title]
    assert all(number % 2 == 0 for number in likes)
    first = page.locator("#recommendations li").first
    expect(first.locator(".value")).to_have_text(re.compile(r"^Predicted rating: \d\.\d\d$"))
    expect(page.locator("#usual-error")).to_have_text("Ratings are mostly within 0.9 of what is predicted.")  # once
    expect(first.locator(".base")).to_have_text(re.compile(r"^The average person: 3\.\d · their ratings: \+\d\.\d$"))
    expect(first.locator(".because")).to_have_text(re.compile(r"^Because they gave 5 to .+ \(\+0\.\d\)"))
    expect(page.get_by_role("img", name=re.compile("Histogram from 1 to 5. Half of the 30 titles"))).to_be_visible()
    assert page.url.endswith("#user=104")


def test_the_first_visit_shows_an_example(page: Any) -> None:
    page.goto("/")
    assert titles(page)
    expect(page.locator("#examples a[aria-current]")).to_have_count(1)


def test_filters_choose_and_say_so_when_nothing_is_left(page: Any) -> None:
    page.goto("/#user=104")
    assert len(titles(page)) == 10
    page.get_by_label("Genre").select_option("Odd")
    page.wait_for_url("**/*genre=Odd")
    expect(page.locator("#recommendations .quiet").first).to_contain_text("Odd")
    page.get_by_label("Show", exact=True).fill("3")
    expect(page.locator("#recommendations li")).to_have_count(3)
    page.reload()
    expect(page.locator("#recommendations li")).to_have_count(3)
    page.get_by_label("At least").fill("7")
    expect(page.locator("#notes")).to_contain_text("No other title passes the filters")
    page.get_by_label("At least").fill("0")
    expect(page.locator("#recommendations li")).to_have_count(3)
    page.get_by_label("From", exact=True).fill("2030")
    expect(page.locator("#notes")).to_contain_text("No other title passes the filters")


def test_a_list_is_sorted_as_asked_and_has_the_threshold_of_its_order(page: Any, tmp_path: Path) -> None:
    learned = {"rank_by": "liking", "min_ratings": {"stars": 3, "liking": 1}, "weights": {"popularity": 1.0}}
    save(two_tastes(ranking=learned), tmp_path / "bundle")
    with served(bundle=tmp_path / "bundle", expose_user_ratings=True) as url:
        page.goto(f"{url}/#user=104")
        expect(page.get_by_label("Sort by")).to_have_value("liking")
        expect(page.get_by_label("At least")).to_have_value("1")
        with page.expect_request("**/recommendations?**") as request:
            page.get_by_label("Sort by").select_option("stars")
        assert "rank_by=stars" in request.value.url
        assert "min_ratings" not in request.value.url
        expect(page.get_by_label("At least")).to_have_value("3")


def test_someone_new_rates_by_keyboard_alone(page: Any) -> None:
    page.goto("/#new")
    expect(page.locator("#notes")).to_contain_text("Rate a title")
    page.locator("#search").focus()
    give(page, "film 2", "5")
    first = titles(page)
    expect(page.locator(".because").first).to_contain_text("Because you gave 5 to Film 2")
    expect(page.locator("#recommendations")).not_to_contain_text("Odd")
    give(page, "film 3", "5")
    expect(page.locator("#given li")).to_have_count(2)
    expect(page.locator("#recommendations")).to_contain_text("Odd")
    expect(page.locator("#recommendations")).to_contain_text("Because you gave 5 to Film 3")
    assert titles(page) != first
    page.reload()
    expect(page.locator("#given li")).to_have_count(2)
    expect(page.locator("#given :checked")).to_have_count(2)
    page.get_by_role("button", name="Remove all").click()
    expect(page.locator("#recommendations li")).to_have_count(0)


def test_someone_new_may_filter_by_year(page: Any) -> None:
    page.goto("/#new&from=1995&to=2000")
    page.locator("#search").focus()
    give(page, "film 2", "5")
    assert titles(page)
    for about in page.locator("#recommendations h3 + .quiet").all_inner_texts():
        assert 1995 <= int(about[:4]) <= 2000


def test_someone_new_may_begin_with_what_most_have_rated(page: Any) -> None:
    page.goto("/#new")
    suggested = page.get_by_role("heading", name="Most rated")
    expect(suggested).to_be_visible()
    first = page.locator("#popular button").first
    name = first.inner_text()
    first.click()
    page.keyboard.press("5")
    expect(page.locator("#given li")).to_contain_text(name)
    expect(page.locator("#popular")).not_to_contain_text(name, use_inner_text=True)
    assert titles(page)


def test_stars_change_by_arrow_and_the_search_is_a_combobox(page: Any) -> None:
    page.goto("/#new")
    search = page.get_by_role("combobox", name="Titles you know")
    search.fill("film")  # one question, whose answer does not move the choice later
    expect(page.get_by_role("listbox").get_by_role("option")).to_have_count(12)
    expect(search).to_have_attribute("aria-activedescendant", "found-0")
    page.keyboard.press("ArrowDown")
    expect(search).to_have_attribute("aria-activedescendant", "found-1")
    expect(page.locator("#found [aria-selected=true]")).to_have_count(1)
    page.keyboard.press("Escape")
    expect(page.get_by_role("listbox")).to_be_hidden()
    search.fill("nowhere")
    expect(page.locator("#search-hint")).to_contain_text("No title matches “nowhere”")
    search.fill("")
    give(page, "film 4", "2")
    page.locator("#given :checked").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#given :checked")).to_have_value("3")
    assert page.evaluate("JSON.parse(Object.values(sessionStorage)[0])[0].rating") == 3


def test_an_item_opens_its_neighbours_and_back_closes_it(page: Any) -> None:
    page.goto("/#user=104")
    first = titles(page)[0]
    page.locator("#recommendations h3 a").first.click()
    panel = page.get_by_role("dialog", name=first)
    expect(panel).to_contain_text("User 104 would give")
    expect(panel.locator("dd", has_text="±")).to_have_count(0)  # it would be the same for every title
    expect(panel.locator("ol li")).to_have_count(12)
    second = panel.locator("ol a").nth(1).inner_text()
    panel.locator("ol a").nth(1).click()
    expect(page.get_by_role("dialog", name=second)).to_be_visible()
    page.go_back()
    expect(page.get_by_role("dialog", name=first)).to_be_visible()
    page.go_back()
    expect(page.get_by_role("dialog")).to_be_hidden()
    assert page.url.endswith("#user=104")
    page.go_forward()
    expect(page.get_by_role("dialog", name=first)).to_be_visible()
    page.keyboard.press("Escape")
    page.wait_for_url("**/#user=104")


def test_stars_in_the_panel_can_be_clicked(page: Any) -> None:
    page.goto("/#new&item=2")
    page.get_by_role("dialog").locator(".picker label").nth(4).click()
    page.keyboard.press("Escape")
    expect(page.locator("#given li")).to_have_count(1)
    expect(page.locator("#given :checked")).to_have_value("5")
    expect(page.locator(".because").first).to_contain_text("Because you gave 5 to Film 2")


def test_back_returns_to_the_user_before_and_to_the_other_tab(page: Any) -> None:
    page.goto("/#user=104")
    expect(page.locator("#results-name")).to_have_text("Recommended for user 104")
    page.locator("#examples a").last.click()
    page.get_by_role("tab", name="Existing user").press("ArrowRight")
    expect(page.get_by_role("tab", name="New user")).to_be_focused()
    expect(page.locator("#results-name")).to_have_text("Recommended for you")
    page.go_back()
    page.go_back()
    expect(page.locator("#results-name")).to_have_text("Recommended for user 104")
    expect(page.get_by_label("User id")).to_have_value("104")


def test_markup_in_a_title_is_text(page: Any) -> None:
    page.goto("/#new")
    page.locator("#search").press_sequentially("bold")
    expect(page.locator("#found li")).to_contain_text(MARKUP)
    page.keyboard.press("Enter")
    expect(page.locator("#given li")).to_contain_text(MARKUP)
    page.get_by_role("link", name=MARKUP).click()
    expect(page.get_by_role("dialog", name=MARKUP)).to_be_visible()
    assert page.locator("#item-body b", has_text="Bold").count() == 0


def test_an_unknown_user_gets_an_average_answer_and_is_told(page: Any) -> None:
    page.goto("/#user=999")
    assert titles(page)
    expect(page.locator("#notes")).to_contain_text("Nothing is known of user 999 yet")
    expect(page.locator("#errors")).to_be_empty()


def test_an_error_is_said_in_the_service_s_words(page: Any) -> None:
    page.goto("/#user=someone")
    detail = page.request.get("/users/someone").json()["detail"]
    expect(page.get_by_role("alert")).to_have_text(detail)
    page.get_by_label("User id").fill("104")
    page.get_by_role("button", name="Show", exact=True).click()
    assert titles(page)
    expect(page.get_by_role("alert")).to_be_empty()


def test_an_error_that_is_over_leaves_no_gap(page: Any) -> None:
    page.goto("/#user=104")
    assert titles(page)
    before = page.locator(".tabs").bounding_box()
    page.goto("/#user=someone")
    expect(page.get_by_role("alert")).not_to_be_empty()
    page.goto("/#user=104")
    expect(page.get_by_role("alert")).to_be_empty()
    assert page.locator(".tabs").bounding_box() == before


def test_an_unknown_item_is_an_error_within_the_panel(page: Any) -> None:
    page.goto("/#user=104&item=777")
    expect(page.get_by_role("dialog", name="Item 777").get_by_role("alert")).not_to_be_empty()
    page.get_by_role("button", name="Close").click()
    expect(page.get_by_role("alert")).to_be_empty()


def test_a_dead_service_is_said_and_asked_again(page: Any) -> None:
    page.goto("/#user=104")
    assert titles(page)
    page.context.set_offline(True)
    page.locator("#examples a").last.click()
    try:
        expect(page.get_by_role("alert")).to_contain_text("The service is not responding")
        expect(page.locator("#recommendations li")).to_have_count(0)
    finally:
        page.context.set_offline(False)
    page.get_by_role("button", name="Try again").click()
    assert titles(page)
    expect(page.get_by_role("alert")).to_be_empty()
    expect(page.locator("#profile")).to_contain_text("ratings")


def fulfil(status: int, code: str, detail: str = "", **headers: str) -> Any:
    """A handler that answers a request in the service's place."""
    return lambda route: route.fulfill(status=status, headers=headers, json={"detail": detail, "code": code})


@pytest.mark.parametrize(
    ("status", "code", "sentence"),
    [(503, "overloaded", "The service is busy."),
     (429, "rate_limited", "These were too many requests in a short time."),
     (503, "not_ready", "It is stopping.")],
)  # fmt: skip
def test_a_busy_service_is_asked_again_once_when_it_says(page: Any, status: int, code: str, sentence: str) -> None:
    asked = []

    def busy(route: Any) -> None:
        asked.append(route.request.url)
        fulfil(status, code, "It is stopping.", **{"Retry-After": "7"})(route)

    page.route("**/recommendations?*", busy)
    page.goto("/#user=104")
    expect(page.get_by_role("alert")).to_contain_text(f"{sentence} Trying again in 7 s.")
    expect(page.get_by_role("alert")).to_contain_text(f"{sentence} Try again in 7 s.")
    assert len(asked) == 2
    page.unroute_all()
    page.get_by_role("button", name="Try again").click()
    assert titles(page)
    expect(page.get_by_role("alert")).to_be_empty()


def test_a_busy_service_that_is_not_any_more_needs_nobody_to_ask_again(page: Any) -> None:
    page.route("**/recommendations?*", fulfil(503, "overloaded", **{"Retry-After": "1"}), times=1)
    page.goto("/#user=104")
    assert titles(page)
    expect(page.get_by_role("alert")).to_be_empty()


@pytest.mark.parametrize("wait", ["3600", "Wed, 21 Oct 2026 07:28:00 GMT"])
def test_a_page_does_not_wait_for_long_nor_for_what_is_no_number(page: Any, wait: str) -> None:
    page.route("**/recommendations?*", fulfil(503, "overloaded", **{"Retry-After": wait}))
    page.goto("/#user=104")
    expect(page.get_by_role("alert")).to_contain_text("The service is busy.")
    expect(page.get_by_role("alert")).not_to_contain_text("Trying")


def test_a_service_without_a_model_is_waited_for(page: Any) -> None:
    page.route("**/model", fulfil(503, "no_model", "the first bundle is awaited"), times=3)
    page.goto("/#user=104")
    expect(page.get_by_role("alert")).to_have_text(
        "No model yet The service waits for its first bundle, and this page for the service."
    )
    assert titles(page)
    expect(page.get_by_role("alert")).to_be_empty()


def test_a_late_answer_of_an_older_question_is_dropped(page: Any) -> None:
    page.goto("/#user=104")
    page.evaluate(
        """() => {  // user 101 is answered late, and even if nobody wants to know any more
          const real = fetch;
          const gate = new Promise((open) => { window.letThrough = open; });
          window.late = [];
          window.fetch = (url, options) => {
            if (!url.startsWith("users/101")) return real(url, options);
            const answer = real(url).then(async (found) => {
              const text = await found.text();
              await gate;
              return new Response(text, found);
            });
            window.late.push(answer);
            return answer;
          };
        }"""
    )
    page.get_by_label("User id").fill("101")
    page.keyboard.press("Enter")
    assert page.evaluate("late.length") == 2  # the ratings and the recommendations
    page.get_by_label("User id").fill("104")
    page.keyboard.press("Enter")
    before = titles(page)
    page.evaluate("letThrough(); Promise.all(late).then(() => new Promise((done) => setTimeout(done, 100)))")
    assert titles(page) == before
    expect(page.locator("#results-name")).to_have_text("Recommended for user 104")


def test_a_ranking_model_without_histories_shows_what_it_has(page: Any, ranking: str) -> None:
    page.goto(f"{ranking}/")
    expect(page.locator("#metric-name")).to_have_text("Test NDCG@10")
    expect(page.locator("#metric")).to_have_text("0.1235")
    expect(page.locator("#no-new")).to_have_text("This model does not support new users.")
    expect(page.get_by_role("tab", name="New user")).to_be_hidden()
    expect(page.get_by_label("Genre")).to_be_hidden()
    expect(page.get_by_label("From", exact=True)).to_be_hidden()
    page.get_by_label("User id").fill("104")
    page.keyboard.press("Enter")
    assert titles(page)
    expect(page.locator("#recommendations .value, #recommendations .base")).to_have_count(0)  # its scores say nothing
    expect(page.locator("#recommendations .stars")).to_have_count(0)
    expect(page.locator("#profile")).to_contain_text("does not expose")


@pytest.mark.parametrize("address", ["/#user=104", "/#new"])
def test_on_a_phone_the_list_begins_above_the_fold(page: Any, address: str) -> None:
    page.set_viewport_size({"width": 375, "height": 667})
    page.goto(address)
    if "new" in address:
        for stars in ("5", "1", "4"):
            page.locator("#popular button").first.click()
            page.keyboard.press(stars)
    assert titles(page)
    page.evaluate("scrollTo(0, 0)")
    assert page.locator("#recommendations li").first.bounding_box()["y"] < 640
    page.get_by_role("button", name="Filter").click()
    page.get_by_label("Show", exact=True).fill("3")
    expect(page.locator("#recommendations li")).to_have_count(3)
    assert page.evaluate("document.documentElement.scrollWidth") == 375


def test_a_phone_never_scrolls_sideways(page: Any) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    page.goto("/")
    for address, shown in {
        "/#user=104": "#recommendations li",
        "/#user=104&item=0": "#item-body ol li",
        "/#user=someone": "[role=alert] p",
        "/#new": "#popular button",
    }.items():
        page.goto(address)
        expect(page.locator(shown).first).to_be_visible()
        if address == "/#new":
            give(page, "film 2", "5")
            assert titles(page)
        assert page.evaluate("document.documentElement.scrollWidth") == 360, address
        assert page.evaluate("document.querySelector('dialog').scrollWidth") <= 360, address


def test_a_model_that_is_swapped_in_shows_in_the_header(page: Any, tmp_path: Path) -> None:
    two_tastes().save(tmp_path / "old" / "bundle")
    two_tastes(model="Another", metrics={"test/rmse": 0.5}).save(tmp_path / "new" / "bundle")
    pointer = tmp_path / "serving"
    write_pointer(pointer, tmp_path / "old" / "bundle")
    with served(pointer=pointer, poll_seconds=0.01) as address:
        page.goto(f"{address}/#user=104")
        expect(page.locator("#model-name")).to_have_text("TwoTastes")
        assert titles(page)
        write_pointer(pointer, tmp_path / "new" / "bundle")
        until(lambda: page.request.get(f"{address}/model").json()["model"] == "Another")
        page.get_by_label("Show", exact=True).fill("3")
        expect(page.locator("#model-name")).to_have_text("Another")
        expect(page.locator("#metric")).to_have_text("0.50 stars")


def test_half_stars_can_be_given_where_the_data_has_them(page: Any) -> None:
    page.goto("/")
    halves = [n / 2 for n in range(1, 11)]
    drawn = page.evaluate("async (levels) => (await import('/page/view.js')).starScale([0.5, 5], levels)", halves)
    assert (drawn["steps"], drawn["asStars"], drawn["asHalves"]) == (halves, True, True)


def test_every_rating_scale_has_steps_to_give(page: Any) -> None:
    halves = [half / 2 for half in range(1, 11)]
    expected: list[tuple[tuple[float, float], list[float] | None, list[float], bool]] = [  # levels, steps, as stars
        ((1, 5), None, [1, 2, 3, 4, 5], True),
        ((1, 5), [1, 2, 3, 4, 5], [1, 2, 3, 4, 5], True),
        ((0.5, 5), None, [1, 2, 3, 4, 5], True),
        ((0.5, 5), halves, halves, True),
        ((1, 10), None, list(range(1, 11)), True),
        ((0, 100), None, list(range(0, 101, 10)), False),
        ((-10, 10), None, list(range(-10, 11, 2)), False),
        ((0, 1), None, [round(0.1 * i, 1) for i in range(11)], False),
        ((0, 1), [0, 0.25, 0.5, 0.75, 1], [0, 0.25, 0.5, 0.75, 1], False),
        ((0, 2), [0, 1, 2], [0, 1, 2], False),
        ((-1, 1), [-1, 0, 1], [-1, 0, 1], False),
        ((-11.2, 11.9), None, [-11.2, -5, 0, 5, 11.9], False),
        ((13, 93), None, [13, 20, 30, 40, 50, 60, 70, 80, 93], False),
    ]
    page.goto("/")
    draw = """async (cases) => {
      const { starScale } = await import("/page/view.js");
      return cases.map(([scale, levels]) => starScale(scale, levels));
    }"""
    drawn = page.evaluate(draw, [[list(scale), levels] for scale, levels, *_ in expected])
    assert [(one["steps"], one["asStars"]) for one in drawn] == [(steps, stars) for *_, steps, stars in expected]
    shares = page.evaluate(
        """async () => {
      const { starScale } = await import("/page/view.js");
      const share = ([low, high]) => [low, (low + high) / 2, high].map(starScale([low, high]).share);
      return [[0, 2], [-11.2, 11.9], [13, 93]].map(share);
    }"""
    )
    assert shares == [[0, 0.5, 1]] * 3


ODD = ["nan", "NULL", " 7 ", "..", ".", "%2F", "a/b", "e\u0301", "é", "\u202eevil", "?q#&=+", "L" * 2048]


def odd_texts() -> Bundle:
    """Ids and titles that look like nothing, or like something else."""
    bundle = two_tastes(id_kind="str")
    items = [*ODD, *(f"item {row}" for row in range(ITEMS - len(ODD)))]
    titles = ["", " \t", "\x00", "\u202eesrever", "x\ty\nz", "\u2066in"]
    about = [known | {"title": title} for known, title in zip(bundle.items, titles, strict=False)]
    return replace(
        bundle,
        user_ids=np.array(ODD, object),
        item_ids=np.array(items, object),
        items=[*about, *bundle.items[len(about) :]],
    )


def test_odd_ids_and_titles_are_shown_and_asked_for(page: Any, tmp_path: Path) -> None:
    with served(bundle=save(odd_texts(), tmp_path / "bundle")) as address:
        page.goto(address)
        for user in ODD:
            page.evaluate("(user) => (location.hash = `user=${encodeURIComponent(user)}`)", user)
            expect(page.locator("#user-id")).to_have_value(user)
            expect(page.locator("#profile[aria-busy=false]")).to_contain_text("ratings, ")
            assert titles(page)
        for item, title in zip(ODD, ["nan", "NULL", "␣7␣", "�esrever", "x y z", "�in"], strict=False):
            page.evaluate("(item) => (location.hash = `user=nan&item=${encodeURIComponent(item)}`)", item)
            expect(page.locator("#item-name")).to_have_text(title)
            expect(page.locator("#item dl")).to_contain_text(re.compile("User nan (gave|would give)"))
        page.goto("about:blank")
        page.goto(f"{address}/#user=%E2%80%AEevil")
        expect(page.locator("#results-name")).to_have_text("Recommended for user �evil")
        page.goto("about:blank")
        page.goto(f"{address}/#new")
        give(page, "7", "5")  # an item without a title is found by its id
        expect(page.locator("#given li").first).to_contain_text("␣7␣")
        assert titles(page)


def test_implicit_feedback_is_chosen_not_rated(page: Any, tmp_path: Path) -> None:
    explicit = two_tastes(task="ranking", rating_scale=[0.0, 1.0], fold_in_target=1.0, noise=None)
    ones = np.ones_like(explicit.ratings.rating)
    factors = replace(explicit.factors, mu=np.float32([-3]))  # so that what was chosen counts in favour of others
    implicit = replace(explicit, factors=factors, ratings=explicit.ratings._replace(rating=ones))
    with served(bundle=save(implicit, tmp_path / "bundle")) as address:
        page.goto(f"{address}/#user=104")
        expect(page.locator("#profile")).to_contain_text("Chosen titles")
        expect(page.locator("#profile .stars")).to_have_count(0)
        expect(page.locator(".because").first).to_contain_text("Because they chose")
        page.goto("about:blank")
        page.goto(f"{address}/#new")
        page.locator("#popular button").first.click()
        assert titles(page)
        expect(page.locator("#given li")).to_have_count(1)
        expect(page.locator("#given fieldset")).to_have_count(0)
        page.locator("#given a").first.click()
        page.locator("#item").get_by_role("button", name="Remove").click()
        expect(page.locator("#given li")).to_have_count(0)
        page.locator("#item").get_by_role("button", name="Add").click()
        expect(page.locator("#given li")).to_have_count(1)


def test_implicit_feedback_is_sent_without_stars(page: Any, tmp_path: Path) -> None:
    explicit = two_tastes(task="ranking", rating_scale=[0.0, 1.0], fold_in_target=1.0, noise=None)
    chosen = replace(explicit, ratings=explicit.ratings._replace(rating=np.ones_like(explicit.ratings.rating)))
    with served(bundle=save(chosen, tmp_path / "bundle")) as address:
        page.goto(f"{address}/#new")
        with page.expect_request("**/recommendations/") as asked:
            page.locator("#popular button").first.click()
        assert [set(one) for one in asked.value.post_data_json["ratings"]] == [{"item_id"}]
        expect(page.locator("#min-after")).to_have_text("choices")


@pytest.mark.parametrize(
    ("scale", "stars", "labels"),
    [
        ([0.0, 2.0], [0, 1, 2], ["0", "1", "2"]),
        ([0.5, 5.0], [0.5, 1, 3, 5], [f"{half / 2:g} star{'s' * (half != 2)}" for half in range(1, 11)]),
    ],
)
def test_stars_are_offered_in_the_steps_of_the_data(
    page: Any, tmp_path: Path, scale: list[float], stars: list[float], labels: list[str]
) -> None:
    rated = two_tastes(rating_scale=scale)
    given = np.resize(np.array(stars, np.float32), len(rated.ratings.rating))
    with served(bundle=save(replace(rated, ratings=rated.ratings._replace(rating=given)), tmp_path / "b")) as address:
        page.goto(f"{address}/#new")
        page.locator("#popular button").first.click()
        assert page.locator("#given label .unseen").all_inner_texts() == labels
        page.locator("#given label").last.click()
        assert titles(page)
        box = page.locator("#given .picker").bounding_box()
        assert box["height"] < 60  # in one row


def test_uncertainty_is_shown_where_it_differs_by_title(page: Any, tmp_path: Path) -> None:
    factors, axes = two_tastes().factors, {"mu": 0, "prior_mean": 0, "prior_precision": 1}
    names = ("mu", "prior_mean", "prior_precision", "user_bias", "item_bias", "user_factors", "item_factors")
    twice = {name: np.repeat(getattr(factors, name), 2, axes.get(name, 1)) for name in names}
    twice["item_bias"][:, 1] += np.linspace(0, 0.9, ITEMS, dtype=np.float32)
    with served(bundle=save(replace(two_tastes(), factors=replace(factors, **twice)), tmp_path / "bundle")) as address:
        page.goto(f"{address}/#user=104")
        assert titles(page)
        expect(page.locator("#recommendations .std")).to_have_count(10)
        expect(page.locator("#recommendations .std").first).to_have_text(re.compile(r"^ ± \d\.\d$"))
        expect(page.locator("#usual-error")).to_be_empty()


def test_the_panel_says_what_somebody_new_would_give(page: Any) -> None:
    page.goto("/#new&item=5")
    expect(page.locator("#item dl")).not_to_contain_text("would give")  # nothing is known of them
    page.keyboard.press("Escape")
    give(page, "Film 2", "5")
    assert titles(page)
    page.evaluate("location.hash = '#new&item=5'")
    expect(page.locator("#item dl")).to_contain_text(re.compile(r"You would give\s*\d\.\d\d"))
    expect(page.locator("#item h3")).to_have_text("Similar titles")
    page.locator("#item label").nth(2).click()
    expect(page.locator("#item dl")).not_to_contain_text("would give")


def test_typos_are_forgiven_and_ids_found(page: Any, tmp_path: Path) -> None:
    bundle = two_tastes()
    bundle.items[3] |= {"title": "Godfather, The (1972)", "year": 1972}
    bundle.items[4] |= {"title": "Łódź (1990)", "year": 1990}
    with served(bundle=save(bundle, tmp_path / "bundle")) as address:
        page.goto(f"{address}/#new")
        for typed, found in (("godfahter", "The Godfather"), ("lodz", "Łódź"), ("17", "Film 17")):
            page.locator("#search").fill("")
            page.locator("#search").press_sequentially(typed)
            expect(page.locator("#found li").first.locator("span")).to_have_text(found)


def test_stored_ratings_of_another_scale_are_left_out(page: Any, tmp_path: Path) -> None:
    with served(bundle=save(two_tastes(), tmp_path / "bundle")) as address:
        page.goto(f"{address}/#new")
        stored = [{"item_id": "1", "title": "Film 1", "year": None, "rating": 93}, None, {"item_id": 2}]
        page.evaluate("(s) => sessionStorage.setItem('recsys ratings of small', JSON.stringify(s))", stored)
        page.goto("about:blank")
        page.goto(f"{address}/#new")
        expect(page.locator("#given li")).to_have_count(1)
        expect(page.locator("#notes")).to_contain_text("Rate a title")


class Keyed(NamedTuple):
    """A service that asks for a key, and keys: of all scopes, without histories, for operations only."""

    address: str
    key: str
    discreet: str
    operations: str


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    folder = tmp_path_factory.mktemp("keyed")
    file = folder / "keys.json"
    scopes = {"key": ["predict", "histories", "operations"], "discreet": ["predict"], "operations": ["operations"]}
    made = {name: keys.add(file, name, frozenset(these)) for name, these in scopes.items()}
    with served(bundle=save(two_tastes(), folder / "bundle"), keys=file) as address:
        yield Keyed(address, **made)


def enter_key(page: Any, key: str) -> Any:
    """Type a key and press Enter; the dialog it was typed into."""
    dialog = page.get_by_role("dialog", name="Enter an API key")
    expect(dialog.get_by_label("Key", exact=True)).to_be_focused()
    page.keyboard.type(key)
    page.keyboard.press("Enter")
    return dialog


def test_a_key_is_asked_for_kept_for_the_tab_and_forgotten(page: Any, keyed: Keyed) -> None:
    page.goto(f"{keyed.address}/#user=104")
    dialog = page.get_by_role("dialog", name="Enter an API key")
    expect(dialog).to_contain_text("recsys keys add NAME")
    field = dialog.get_by_label("Key", exact=True)
    expect(field).to_have_attribute("type", "password")
    for wrong, said in {
        "": "Enter the key.",
        "wrong": "does not accept this key",
        "two words": "blanks or special characters",
        "ключ": "blanks or special characters",
        MARKUP.replace(" ", ""): "does not accept this key",
    }.items():
        field.fill(wrong)
        page.keyboard.press("Enter")
        expect(dialog.get_by_role("alert")).to_contain_text(said)
        expect(field).to_have_attribute("aria-invalid", "true")
    dialog.get_by_role("button", name="Show the key").click()
    expect(field).to_have_attribute("type", "text")
    field.fill(f"  {keyed.key}\n")
    dialog.get_by_role("button", name="Use key").click()
    expect(dialog).to_be_hidden()
    assert titles(page)
    page.reload()
    assert titles(page)
    assert keyed.key not in page.url
    assert page.evaluate("Object.values(localStorage).length") == 0
    page.get_by_role("button", name="Forget key").click()
    expect(page.get_by_role("dialog", name="Enter an API key").get_by_role("alert")).to_be_empty()
    assert page.evaluate("Object.values(sessionStorage)") == []


def test_the_dialog_fits_a_phone(page: Any, keyed: Keyed) -> None:
    page.set_viewport_size({"width": 320, "height": 560})
    page.goto(keyed.address)
    dialog = page.get_by_role("dialog", name="Enter an API key")
    for name in ("Show the key", "Cancel", "Use key"):
        place = dialog.get_by_role("button", name=name).bounding_box()
        assert place["x"] + place["width"] < 300
    assert page.evaluate("document.documentElement.scrollWidth") == 320


def test_without_keys_nothing_is_said_of_them(page: Any) -> None:
    page.goto("/#user=104")
    assert titles(page)
    expect(page.locator("body")).not_to_contain_text("key", use_inner_text=True, ignore_case=True)
    expect(page.get_by_role("dialog")).to_be_hidden()


def test_the_dialog_can_be_left_and_opened_again(page: Any, keyed: Keyed) -> None:
    page.goto(f"{keyed.address}/#user=104")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("a key is needed")
    page.get_by_role("button", name="Enter a key").click()
    enter_key(page, keyed.key)
    assert titles(page)
    expect(alert).to_be_empty()


def test_a_key_that_is_revoked_meanwhile_is_said(page: Any, keyed: Keyed) -> None:
    page.goto(f"{keyed.address}/page/icon.svg")
    page.evaluate("(key) => sessionStorage.setItem('recsys key', key)", keyed.key[::-1])
    page.goto(f"{keyed.address}/#user=104")
    dialog = page.get_by_role("dialog", name="Enter an API key")
    expect(dialog.get_by_role("alert")).to_have_text("The service does not accept the key of this tab any more.")
    enter_key(page, keyed.key)
    assert titles(page)


def test_a_key_without_histories_gets_the_rest_and_is_told(page: Any, keyed: Keyed) -> None:
    page.goto(f"{keyed.address}/#user=104")
    enter_key(page, keyed.discreet)
    assert titles(page)
    expect(page.locator("#profile")).to_contain_text("not to this key: it needs the scope “histories”")
    expect(page.locator(".because")).to_have_count(0)
    expect(page.get_by_role("alert")).to_be_empty()
    page.get_by_role("button", name="Use another key").click()
    enter_key(page, keyed.key)
    expect(page.locator("#profile")).to_contain_text("14 ratings")
    expect(page.locator(".because").first).to_be_visible()


def test_a_key_of_the_wrong_scope_can_be_changed_or_forgotten(page: Any, keyed: Keyed) -> None:
    page.goto(keyed.address)
    expect(enter_key(page, keyed.operations)).to_be_hidden()
    expect(page.get_by_role("alert")).to_contain_text("this key lacks the scope predict")
    page.get_by_role("button", name="Use another key").click()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Forget key").click()
    enter_key(page, keyed.key)
    assert titles(page)


def test_a_service_that_is_busy_when_a_key_is_tried_says_so(page: Any, keyed: Keyed) -> None:
    page.goto(f"{keyed.address}/#user=104")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.route("**/model", fulfil(429, "rate_limited", **{"Retry-After": "9"}))
    dialog = enter_key(page, keyed.key)
    expect(dialog.get_by_role("alert")).to_have_text("These were too many requests in a short time. Try again in 9 s.")


def test_what_the_service_says_of_keys_is_text(page: Any) -> None:
    said = "<img src=x onerror=alert(1)> \u202eevil"
    page.route("**/model", fulfil(401, "key_required", said))
    page.goto("/")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("alert")).to_contain_text(said.replace("\u202e", "\ufffd"))
    page.unroute_all()
    page.route("**/model", fulfil(403, "scope_missing", said))
    page.reload()
    expect(page.get_by_role("alert")).to_contain_text(said.replace("\u202e", "\ufffd"))
    page.unroute_all()
    page.get_by_role("button", name="Use another key").click()
    page.route("**/model", fulfil(500, "__proto__", said))
    expect(enter_key(page, "another").get_by_role("alert")).to_contain_text(said.replace("\u202e", "\ufffd"))
    expect(page.locator("#errors img, dialog img")).to_have_count(0)


def try_out(page: Any, path: str) -> None:
    """Send the request of an operation of /docs, as it is filled in."""
    operation = page.locator(".opblock").filter(has=page.locator(f"[data-path='{path}']"))
    operation.locator(".opblock-summary-control").click()
    operation.get_by_role("button", name="Execute").click()
    expect(operation.locator(".live-responses-table .response .response-col_status")).to_have_text("200")


def test_the_documentation_is_of_this_service_whatever_the_address_and_as_dark_as_the_system(page: Any) -> None:
    page.goto("/docs?url=https://evil.example/openapi.json&configUrl=https://evil.example/config.json")
    expect(page.locator(".info .title")).to_contain_text("recsys")
    try_out(page, "/predict/rating/")
    expect(page.locator(".auth-wrapper")).to_have_count(0)
    background = "() => getComputedStyle(document.documentElement).backgroundColor"
    light = page.evaluate(background)
    page.emulate_media(color_scheme="dark")
    try:
        expect(page.locator("html.dark-mode")).to_have_count(1)
        assert page.evaluate(background) != light
    finally:
        page.emulate_media(color_scheme="light")
    expect(page.locator("html.dark-mode")).to_have_count(0)


def test_the_documentation_shares_the_key_of_the_tab(page: Any, keyed: Keyed) -> None:
    page.goto(keyed.address)
    enter_key(page, keyed.key)
    assert titles(page)
    page.get_by_role("link", name="REST API").click()
    expect(page.locator(".auth-wrapper .authorize.locked")).to_be_visible()
    page.locator(".auth-wrapper .authorize.locked").click()
    page.get_by_role("button", name="Remove authorization").click()
    assert page.evaluate("Object.values(sessionStorage)") == []
    page.get_by_label("auth-bearer-value").fill(keyed.key)
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Close").click()
    try_out(page, "/model")
    page.locator("nav").get_by_role("link", name="Recommendations").click()
    assert titles(page)
    expect(page.get_by_role("button", name="Forget key")).to_be_visible()
