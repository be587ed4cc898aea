"""The report's page in a real browser: what it shows of whatever the data holds, and what a reader can do with it."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from recsys.report.formats import registry_data
from tests.browser import Window, browser, expect  # noqa: F401  (a fixture)

pytestmark = pytest.mark.long

PAGE = Path(__file__).parents[2] / "recsys" / "report" / "page"
MARKUP = '</script><b>bold</b><img src=x onerror="window.hit = 1"><!-- & {{js}}'
FIGURES = ("val/rmse", "test/rmse", "test/mae", "test/rmse_warm", "test/rmse_cold", "fit_seconds")
ANALYSIS = {
    "by_user_activity": [[1, 4, 20, 1.1, 1.2], [5, 9, 40, 1.0, 1.1], [10, None, 80, 0.9, 1.0]],
    "by_item_popularity": [[0, 0, 5, 1.3, 1.4], [1, 4, 100, 0.95, 1.0]],
    "by_rating": [[1.0, 10, 2.1, 1.2], [5.0, 30, 4.2, 0.9]],
    "calibration": [[2.0, 2.25, 30, 2.1, 2.2], [4.0, 4.25, 60, 4.1, 4.0]],
}


class Report:
    """Report data, run by run."""

    def __init__(self, tasks: int = 1) -> None:
        self.data: dict[str, Any] = {"schema": 1, "made": "2026-11-23T22:40:00Z", "root": "outputs/x"}
        self.data |= {
            "metric": "val/rmse",
            "registry": registry_data(),
            "parameters": [],
            "settings": [],
            "runs": [],
            "importance": [None] * tasks,
        }
        baselines = {"global_mean": 1.2, "item_mean": 1.1, "biases": 1.0}
        names = [{"label": f"data-{i} · user_time", "data": f"data-{i}", "split": "user_time"} for i in range(tasks)]
        self.data["tasks"] = [
            name | {"baselines": baselines, "monitor": "val/rmse", "test": "test/rmse", "metric": "val/rmse"}
            for name in names
        ]

    def run(self, state: str, values: dict[str, Any] | None = None, **more: Any) -> int:
        number = len(self.data["runs"])
        run = {
            "path": str(number),
            "state": state,
            "message": None,
            "task": 0,
            "setting": None,
            "model": "mf",
            "seed": 0,
            "fold": None,
        }
        run |= {
            "values": values or {},
            "metrics": {},
            "seconds": 5.0,
            "started": "2026-11-23T20:00:00Z",
            "commit": "5ff",
        }
        run |= {"command": f"python -m recsys.train n={number}", "curve": [1.2, 1.0], "analysis": None}
        self.data["runs"].append(run | more)
        return number

    def setting(self, values: dict[str, Any], rmses: list[float], seconds: float = 4.0, task: int = 0) -> None:
        """A setting of as many runs as it has figures; test figures are 0.02 above those of validation."""
        number = len(self.data["settings"])
        runs = []
        for seed, rmse in enumerate(rmses):
            figures = dict(zip(FIGURES, (rmse, rmse + 0.02, rmse * 0.8, rmse + 0.01, rmse + 0.2, seconds), strict=True))
            curve = [rmse + 0.3, rmse + 0.05, rmse]
            about = {"task": task, "setting": number, "seed": seed, "analysis": ANALYSIS, "curve": curve}
            runs.append(self.run("finished", values, metrics=figures | {"epochs": 3}, **about))
        mean = {key: sum(self.data["runs"][run]["metrics"][key] for run in runs) / len(runs) for key in FIGURES}
        error = dict.fromkeys(FIGURES, 0.0004 if len(runs) > 1 else None)
        setting = {"task": task, "values": values, "runs": runs, "mean": mean, "standard_error": error}
        self.data["settings"].append(setting | {"difference": None, "command": f"python -m recsys.train best={number}"})

    def parameter(self, name: str, kind: str, log: bool = False) -> None:
        values = [run["values"].get(name) for run in self.data["runs"]]
        self.data["parameters"].append({"name": name, "kind": kind, "log": log, "values": list(dict.fromkeys(values))})


def sweep() -> dict[str, Any]:
    """Two tasks; of the first 40 settings the validation figure falls with embedding_dim, and two tie at the top."""
    report = Report(tasks=2)
    names = ("mf", "svdpp", MARKUP)
    for i in range(40):
        values = {"model.embedding_dim": 200 - i, "model.reg_lambda": 0.001 * 2 ** (i % 10), "model_name": names[i % 3]}
        base = 0.9 + 0.001 * max(i - 1, 0)
        noise = (0.0004, 0.0001, 0.0) if i == 1 else (0.0, 0.0001, 0.0002)
        report.setting(values, [base + part for part in noise], seconds=20.0 - i / 4)
    report.setting({"model.embedding_dim": 8, "model.reg_lambda": 0.5, "model_name": None}, [0.8], task=1)
    pruned = {"model.embedding_dim": 7, "model.reg_lambda": 0.9, "model_name": "mf"}
    for _ in range(12):
        report.run("pruned", pruned, message="worse than the median")
    report.run("failed", message=f"ValueError: {MARKUP}")
    report.run("interrupted")
    report.run("unfinished", started=None)
    report.run("broken", message="config.yaml is no YAML", task=None, command=None, curve=[], seconds=None)
    report.run("running", seconds=None)
    report.parameter("model.embedding_dim", "number", log=True)
    report.parameter("model.reg_lambda", "number", log=True)
    report.parameter("model_name", "category")
    shares = {"model.embedding_dim": 0.7, "model.reg_lambda": 0.2, "model_name": 0.1}
    return report.data | {"importance": [shares, None]}


def rankers() -> dict[str, Any]:
    """Settings whose NDCG rises with alpha from 0.50 to 0.59, one far below, and one that was pruned at 0.02."""
    report = Report()
    report.data["tasks"][0] |= {
        "monitor": "val/ndcg@10",
        "test": "ranking/ndcg@10",
        "metric": "val/ndcg@10",
        "baselines": {"popularity": 0.285},
    }
    for i in range(11):
        report.setting({"model.alpha": i}, [0.5] * 2)
        figure = 0.5 + i / 100 if i < 10 else 0.1
        found = {"val/ndcg@10": figure, "ranking/ndcg@10": figure - 0.02, "ranking/hr@10": figure}
        for run in report.data["runs"][-2:]:
            run |= {"metrics": found | {"epochs": 3}, "curve": [0.01, figure, figure / 2], "analysis": None}
        report.data["settings"][-1] |= {"mean": found | {"fit_seconds": 4.0 + i}, "standard_error": {}}
    report.run("pruned", {"model.alpha": 3}, message="validation NDCG@10 0.0200 after 1 epochs", curve=[0.02])
    report.parameter("model.alpha", "number")
    return report.data


def one_run() -> dict[str, Any]:
    report = Report()
    report.setting({}, [0.94])
    return report.data


def two_settings() -> dict[str, Any]:
    report = Report()
    report.setting({"model.dropout": 0.1}, [0.91])
    report.setting({"model.dropout": None}, [0.92])
    report.parameter("model.dropout", "number")
    return report.data


def repeats_without_analysis() -> dict[str, Any]:
    report = Report()
    report.setting({}, [0.94, 0.95, 0.96])
    for run in report.data["runs"]:
        run["analysis"] = None
    return report.data


def none_finished() -> dict[str, Any]:
    report = Report()
    report.run("failed", message="out of memory")
    return report.data


def nulls() -> dict[str, Any]:
    """What a report of unreadable folders might hold at worst: the right keys and nothing behind them."""
    data = sweep()
    for run in data["runs"]:
        run |= dict.fromkeys(set(run) - {"state", "task", "setting"})
    for setting in data["settings"]:
        setting |= {"mean": {}, "standard_error": {}, "command": None, "values": {}}
    nothing = {"label": None, "data": None, "split": None, "baselines": None}
    return data | {"made": None, "root": None, "importance": None, "tasks": [nothing, nothing]}


def nothing_at_all() -> dict[str, Any]:
    return dict.fromkeys(Report().data)


CASES = (nothing_at_all, nulls, none_finished, repeats_without_analysis, one_run, two_settings, rankers, sweep)


def assemble(data: dict[str, Any]) -> str:
    script = "\n".join(path.read_text() for path in sorted(PAGE.glob("*.js")))
    page = (PAGE / "page.html").read_text().replace("/*{{css}}*/", (PAGE / "page.css").read_text())
    return page.replace("/*{{js}}*/", script).replace("{{data}}", json.dumps(data).replace("<", "\\u003c"))


@pytest.fixture(scope="module")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("pages")
    for case in CASES:
        (folder / f"{case.__name__}.html").write_text(assemble(case()))
    return {case.__name__: (folder / f"{case.__name__}.html").as_uri() for case in CASES}


Show = Callable[..., Any]
NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def window(browser: Any) -> Window:  # noqa: F811
    return Window(browser)


@pytest.fixture
def silent(window: Window) -> Iterator[None]:
    """Afterwards: nothing was said in the console, and nothing was asked of anybody."""
    yield
    console, requested = list(window.console), list(window.requested)
    window.clear()
    assert [text for _, text in console] == []
    assert [url for url in requested if not url.startswith(("file:", "data:", "about:"))] == []


@pytest.fixture
def show(window: Window, addresses: dict[str, str], silent: None) -> Show:
    """Loads a case."""

    def load(case: str = "sweep", address: str = "") -> Any:
        # The number, since an address that differs behind the # alone, or not at all, would load nothing new.
        window.page.goto(f"{addresses[case]}?{next(NUMBERS)}{address}")
        return window.page

    return load


@pytest.fixture
def look(window: Window, addresses: dict[str, str], silent: None) -> Show:
    """Shows a case to tests that change nothing: it is loaded unless the last test looked at it, too."""

    def find(case: str = "sweep") -> Any:
        if window.page.url != addresses[case]:
            window.page.goto(addresses[case])
        return window.page

    return find


def rows(page: Any) -> Any:
    return page.locator("#rows > tr[data-id]")


def ranks(page: Any) -> list[int]:
    return [int(text) for text in page.locator("#rows > tr[data-id] > td:nth-child(2)").all_inner_texts()]


@pytest.mark.parametrize("case", [case.__name__ for case in CASES])
def test_every_report_is_drawn_and_never_scrolls_sideways(look: Show, case: str) -> None:
    page = look(case)
    expect(page.locator("h1")).to_contain_text("One run" if case in ("one_run", "none_finished") else "Experiments")
    expect(page.locator("#verdict h2")).to_be_visible()
    shown = page.locator("main").inner_text() + page.locator("header").inner_text()
    assert not re.search(r"\b(NaN|undefined|Infinity)\b|\[object", shown)
    drawn = page.evaluate("[...document.querySelectorAll('svg *')].map((node) => node.outerHTML).join('')")
    assert not re.search(r"NaN|undefined|Infinity", drawn)
    assert page.evaluate("document.documentElement.scrollWidth") == 1280
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_the_verdict_says_what_to_use_how_good_it_is_and_how_sure(look: Show) -> None:
    verdict = look().locator("#verdict")
    expect(verdict).to_contain_text("Use embedding_dim 200, reg_lambda 0.001 and model mf.")
    expect(verdict).to_contain_text("0.9001 ± 0.0004, the mean of 3 runs ± its standard error, is the lowest of 40")
    expect(verdict).to_contain_text("0.9201: 8.0% below the best baseline, biases, at 1.0000")
    expect(verdict).to_contain_text("One other setting is not significantly worse")
    expect(verdict).to_contain_text("The other 38 are significantly worse")
    expect(verdict.locator("code").last).to_have_text("python -m recsys.train best=0")


def test_the_interval_of_the_paired_difference_is_student_s(look: Show) -> None:
    # Against the best by seed: 0.0004, 0 and -0.0002; their mean, and t = 4.303 standard errors to either side.
    expect(rows(look()).nth(1)).to_contain_text("+0.0001 [−0.0007, +0.0008]")


def test_it_names_its_charts_and_tables_to_those_who_do_not_see_them(look: Show) -> None:
    page = look()
    unnamed = "[...document.querySelectorAll('main svg:not([aria-hidden])')].filter((svg) => !svg.ariaLabel)"
    assert page.evaluate(f"{unnamed}.length") == 0
    assert page.evaluate("[...document.querySelectorAll('table')].filter((table) => !table.caption).length") == 0
    nameless = "[...document.querySelectorAll('button')].filter((button) => !button.ariaLabel && !button.textContent)"
    assert page.evaluate(f"{nameless}.length") == 0


def test_of_ranking_models_the_highest_is_the_best(look: Show) -> None:
    page = look("rankers")
    verdict = page.locator("#verdict")
    expect(verdict).to_contain_text("Use alpha 9. Validation NDCG@10 0.5900, the mean of 2 runs")
    expect(verdict).to_contain_text("is the highest of 11 settings")
    expect(verdict).to_contain_text("its NDCG@10 is 0.5700: 100% above the best baseline, popularity, at 0.2850")
    expect(rows(page).first).to_contain_text("0.5900")
    expect(rows(page).nth(1)).to_contain_text("+0.0100")  # so much worse
    assert ranks(page) == list(range(1, 12))
    expect(page.get_by_role("img", name="The highest is 0.5900.")).to_be_visible()
    expect(page.locator("#cost")).to_contain_text("1 value beyond the scale is drawn at its lower edge.")
    expect(page.locator("#parameters")).to_contain_text("Validation NDCG@10 upwards, higher is better.")
    expect(page.locator("#unfinished")).to_contain_text("0.0200")
    expect(page.locator("#error")).to_be_hidden()


def test_without_repeats_the_verdict_asks_for_them(look: Show) -> None:
    verdict = look("two_settings").locator("#verdict")
    expect(verdict).to_contain_text("behind by 0.0100. Significance cannot be tested")
    expect(verdict).to_contain_text("'seeds=[0,1,2]'")


def test_a_page_of_one_run_is_about_that_run(look: Show) -> None:
    page = look("one_run")
    expect(page.locator("h1")).to_have_text("One run: mf on data-0")
    expect(page.locator("#verdict .figures")).to_contain_text("0.9600")
    for absent in ("#leaderboard", "#parallel", "#parameters", "#cost", "#unfinished", "#controls"):
        expect(page.locator(absent)).to_be_hidden()
    expect(page.get_by_role("img", name=re.compile("^Test RMSE by the user's ratings"))).to_be_visible()


def test_columns_sort_by_keyboard_and_say_so(show: Show) -> None:
    page = show()
    head = page.get_by_role("columnheader", name="embedding_dim")
    head.get_by_role("button").focus()
    page.keyboard.press("Enter")
    expect(head).to_have_attribute("aria-sort", "ascending")
    assert ranks(page)[:3] == [40, 39, 38]
    page.keyboard.press("Enter")
    expect(head).to_have_attribute("aria-sort", "descending")
    expect(page.locator("[aria-sort]")).to_have_count(1)
    page.reload()  # the address keeps it
    expect(head).to_have_attribute("aria-sort", "descending")
    assert ranks(page)[-1] == 25


def test_long_tables_begin_with_their_best_rows(show: Show) -> None:
    page = show()
    expect(rows(page)).to_have_count(25)
    page.get_by_role("button", name="Show 15 more").click()
    expect(rows(page)).to_have_count(40)


def test_the_filter_takes_words_and_terms(show: Show) -> None:
    page = show()
    wanted = {
        "embedding_dim>=196": 5,
        "model.embedding_dim=190..192": 3,
        "model_name=mf embedding_dim<164": 1,
        "model=mf|svdpp": 27,
        "model_name!=mf rank<=10": 6,
        "val/rmse<0.9005": 2,
        "bold embedding_dim>197": 1,
        '"best=39"': 1,
        "dropped": 0,
    }
    for text, left in wanted.items():
        page.get_by_label("Filter").fill(text)
        expect(page.locator("#filter-said")).to_have_text(f"{left} of 40 settings")
        expect(rows(page)).to_have_count(min(left, 25))
        expect(page.locator(".route:not(.off):not(.top *)")).to_have_count(left)


def test_a_filter_that_means_nothing_says_so_and_leaves_all(show: Show) -> None:
    page = show()
    page.get_by_label("Filter").fill("depth>3")
    expect(page.locator("#filter-said")).to_contain_text("Nothing is named depth; there are embedding_dim")
    expect(page.get_by_label("Filter")).to_have_attribute("aria-invalid", "true")
    expect(rows(page)).to_have_count(25)
    for half in ("embedding_dim>>", "embedding_dim>", "embedding_dim<x", "embedding_dim==8", "<5"):
        page.get_by_label("Filter").fill(half)
        expect(page.locator("#filter-said")).to_have_text(
            re.compile(f"^{half} is not understood; write for example emb")
        )
        expect(rows(page)).to_have_count(25)


def test_what_goes_on_at_the_right_fades_until_one_is_there(show: Show) -> None:
    page = show()
    page.set_viewport_size({"width": 390, "height": 800})
    table = page.locator(".scroll:has(> #settings)")
    expect(table).to_have_class("scroll more")
    table.evaluate("(box) => (box.scrollLeft = box.scrollWidth)")
    expect(table).to_have_class("scroll")


def test_brushing_an_axis_writes_the_filter_and_a_click_takes_it_back(show: Show) -> None:
    page = show()
    page.locator("#parallel").scroll_into_view_if_needed()
    box = page.locator(".grip").first.bounding_box()
    middle = box["x"] + box["width"] / 2
    page.mouse.move(middle, box["y"] + 2)
    page.mouse.down()
    page.mouse.move(middle, box["y"] + 60, steps=4)
    page.mouse.up()
    expect(page.get_by_label("Filter")).to_have_value(re.compile(r"^embedding_dim=1\d\d\.\.200$"))
    left = rows(page).count()
    assert 0 < left < 25
    expect(page.locator(".brushes rect")).to_have_count(1)
    assert ranks(page) == list(range(1, left + 1))
    page.mouse.click(middle, box["y"] + 150)
    expect(page.get_by_label("Filter")).to_have_value("")
    expect(rows(page)).to_have_count(25)


def test_a_setting_lights_up_wherever_it_is_drawn(show: Show) -> None:
    page = show()
    rows(page).nth(2).hover()
    for chart in ("#parallel", "#parameters", "#curves", "#cost"):
        assert page.locator(f"{chart} .hot").count() >= 1
    dot = page.locator("#cost .costed circle").nth(7)
    dot.scroll_into_view_if_needed()
    page.evaluate(
        "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
    )  # a scroll ends tips
    box = dot.bounding_box()
    page.mouse.move(box["x"] + 5, box["y"] + 5)
    expect(page.get_by_role("tooltip")).to_contain_text("#8 of 40 settings")
    expect(page.locator("tr.hot > td:nth-child(2)")).to_have_text("8")


def test_up_to_four_settings_are_compared(show: Show) -> None:
    page = show()
    legend = page.locator("#error .legend li:has(.swatch)")
    expect(legend).to_have_count(1)
    for rank in (2, 3, 4, 5):
        page.get_by_label(f"Compare setting {rank}", exact=True).check()
    expect(legend).to_have_count(4)
    expect(page.get_by_label("Compare setting 1", exact=True)).not_to_be_checked()
    expect(page.locator("#error .series.c3")).to_have_count(4)
    page.reload()
    expect(legend).to_have_count(4)
    page.get_by_label("Compare setting 5 no longer").click()
    expect(legend).to_have_count(3)


def test_the_analysis_is_averaged_in_proportion_to_the_rows(show: Show) -> None:
    page = show()
    merged = page.locator("#error details").first
    merged.locator("summary").click()
    expect(merged.locator("tbody tr").nth(2)).to_have_text(re.compile(r"10\+\s*80\s*0\.9000\s*1\.0000"))


def test_an_opened_row_has_its_runs_and_a_command_to_copy(show: Show, window: Window) -> None:
    window.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = show()
    page.get_by_role("button", name="Runs of setting 2", exact=True).click()
    opened = page.locator("#rows tr.runs").first
    expect(opened.locator("tbody tr")).to_have_count(3)
    opened.get_by_role("button", name="Copy the command of setting 2", exact=True).click()
    expect(page.locator("#said")).to_have_text("Copied the command of setting 2.")
    assert page.evaluate("navigator.clipboard.readText()") == "python -m recsys.train best=1"
    page.get_by_role("button", name="Runs of setting 2", exact=True).click()
    expect(page.locator("#rows tr.runs")).to_have_count(0)


def test_all_that_did_not_finish_is_listed_whatever_the_filter(show: Show) -> None:
    page = show(address="#filter=nowhere")
    section = page.locator("#unfinished")
    expect(section).to_contain_text(
        "1 failed, 1 broken, 1 interrupted, 1 unfinished, 1 running, 12 pruned, of 138 runs"
    )
    expect(section.locator("tbody tr:visible")).to_have_count(5)
    expect(section).to_contain_text("config.yaml is no YAML")
    section.locator("summary").click()
    expect(section.locator("tbody tr:visible")).to_have_count(17)
    page.locator("#task").select_option("1")
    expect(section).to_contain_text("of 138 runs")


def test_the_task_and_the_metric_can_be_chosen(show: Show) -> None:
    page = show()
    page.locator("#metric").select_option("test/rmse")
    expect(page.locator("#verdict")).to_contain_text("ranked by a test metric")
    expect(page.locator("#settings th").nth(2)).to_contain_text("Test RMSE")
    page.locator("#task").select_option("1")
    expect(page.locator("#verdict")).to_contain_text("0.8200")
    expect(page.locator("#leaderboard")).to_be_hidden()
    assert page.url.endswith("#task=1&metric=test%2Frmse")


def test_markup_in_the_data_stays_text(show: Show) -> None:
    page = show(address="#metric=test/rmse")
    page.get_by_role("button", name="Runs of setting 3", exact=True).click()
    expect(page.locator("#rows")).to_contain_text("</script><b>bold</b>")
    expect(page.locator("#unfinished")).to_contain_text(f"ValueError: {MARKUP}")
    assert page.locator("main img, main b b, .message b").count() == 0
    assert page.evaluate("window.hit") is None


@pytest.mark.parametrize("system", ["light", "dark"])
def test_the_theme_follows_the_system_and_can_be_chosen(show: Show, system: str) -> None:
    page = show("two_settings")
    page.emulate_media(color_scheme=system)

    def lightness() -> int:
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return int(re.findall(r"\d+", colour)[0])

    assert (lightness() > 128) == (system == "light")
    page.get_by_role("button", name="Theme: as the system").click()
    assert lightness() > 128
    page.get_by_role("button", name="Theme: light").click()
    assert lightness() < 128
    page.reload()
    expect(page.get_by_role("button", name="Theme: dark")).to_be_visible()


def test_without_script_the_page_says_so(browser: Any, addresses: dict[str, str]) -> None:  # noqa: F811
    page = browser.new_page(java_script_enabled=False)
    page.goto(addresses["one_run"])
    assert "drawn by JavaScript" in page.locator("noscript").inner_html()
    assert page.locator("noscript p").is_visible()
    page.context.close()
