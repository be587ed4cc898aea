"""What becomes of rows: ratings, events and counts with weights, repeats, and values that mean "not rated"."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from recsys.data.columns import EVENT, ITEM_ID, RATING, TIMESTAMP, USER_ID, WEIGHT
from recsys.data.errors import DataError, UndecidedError
from recsys.data.sources import RatingData, TabularRatings

EVENTS = """who,what,event,stars,when
a,x,view,,2024-01-01
a,x,view,,2024-01-02
a,x,purchase,,2024-01-03
a,y,cart,,2024-01-04
a,y,review,4,2024-01-05
b,x,view,,2024-01-01
b,x,review,2,2024-01-02
b,x,review,5,2024-01-03
b,z,remove,,2024-01-04
"""
PLAYS = "user,artist,plays\n" + "".join(f"{n % 6},{n % 7},{(n * n) % 17 + 1}\n" for n in range(40)) + "1,2,99000\n"


def read(folder: Path, text: str, **options: Any) -> RatingData:
    (folder / "r.csv").write_text(text)
    return TabularRatings(str(folder), "r.csv", **options).read()


def found(data: RatingData) -> dict[str, Any]:
    return {finding.option: finding.value for finding in data.findings}


def weights(data: RatingData) -> dict[tuple[Any, Any], float]:
    columns = (data.ratings[name].tolist() for name in (USER_ID, ITEM_ID, WEIGHT))
    return {(user, item): weight for user, item, weight in zip(*columns, strict=True)}


def account(data: RatingData) -> str:
    assert data.counts is not None
    assert data.counts.kept == len(data.ratings)
    return data.counts.sentence("it")


def test_ratings_of_a_log_are_those_of_its_rated_events(tmp_path: Path) -> None:
    data = read(tmp_path, EVENTS)
    assert not data.implicit
    assert data.ratings[[USER_ID, ITEM_ID, RATING]].to_numpy().tolist() == [["a", "y", 4], ["b", "x", 5]]
    assert account(data) == "9 rows of it: 2 ratings, 0 refused, 7 dropped (6 not rated, 1 repeats of a user and item)"
    assert "event_column" not in found(data)
    first = read(tmp_path, EVENTS, repeats="first")
    assert first.ratings[RATING].tolist() == [4, 2]
    only = read(tmp_path, EVENTS.replace("a,x,view,,2024-01-01", "a,x,view,1,2024-01-01"), rating_column="stars",
                event_column="event", events=["review"])  # fmt: skip
    assert only.ratings[RATING].tolist() == [4, 5]
    assert "6 of other events" in account(only)


def test_events_with_weights_are_implicit_feedback(tmp_path: Path) -> None:
    data = read(tmp_path, EVENTS, events={"view": 1, "cart": 3, "purchase": 10})
    assert data.implicit
    assert weights(data) == {("a", "x"): 12, ("a", "y"): 3, ("b", "x"): 1}
    assert set(data.ratings[RATING]) == {1.0}
    assert data.ratings[TIMESTAMP].iloc[0] == pd.Timestamp("2024-01-03").timestamp()  # that of the latest
    assert account(data) == (
        "9 rows of it: 3 ratings, 0 refused, 6 dropped (4 of other events, 2 added to others of the same user and item)"
    )
    assert found(data)["rating_column"] is None
    listed = read(tmp_path, EVENTS, events=["view", "purchase"])
    assert weights(listed) == {("a", "x"): 3, ("b", "x"): 1}
    latest = read(tmp_path, EVENTS, events={"view": 1, "purchase": 10}, repeats="latest")
    assert weights(latest) == {("a", "x"): 10, ("b", "x"): 1}


def test_kinds_of_events_are_weighed_by_their_words_if_nothing_is_said(tmp_path: Path) -> None:
    data = read(tmp_path, EVENTS, rating_column=None)
    assert found(data)["events"] == {"view": 1, "purchase": 10, "cart": 3, "review": 1}
    assert weights(data)["a", "x"] == 12
    assert "1 of other events" in account(data)


def test_the_kind_of_the_latest_event_is_kept(tmp_path: Path) -> None:
    data = read(tmp_path, EVENTS, events={"purchase": 10, "view": 1, "cart": 3, "review": 0})
    assert data.events == ("view", "cart", "purchase")
    assert [data.events[place] for place in data.ratings[EVENT]] == ["purchase", "cart", "view"]
    again = read(tmp_path, EVENTS + "a,x,view,,2024-01-09\n", events={"view": 1, "purchase": 10})
    assert [again.events[place] for place in again.ratings[EVENT]] == ["view", "view"]  # a x, and b x
    first = read(tmp_path, EVENTS, events=["purchase", "view"], repeats="first")
    assert first.events == ("purchase", "view")  # of equal weight, in the order given
    assert [first.events[place] for place in first.ratings[EVENT]] == ["view", "view"]


def test_a_single_kind_is_known_too(tmp_path: Path) -> None:
    data = read(tmp_path, EVENTS, events=["view"])
    assert data.events == ("view",)
    assert set(data.ratings[EVENT]) == {0}
    assert EVENT not in read(tmp_path, EVENTS).ratings  # of ratings
    assert EVENT not in read(tmp_path, PLAYS).ratings


def test_there_may_be_many_kinds(tmp_path: Path) -> None:
    kinds = [f"k{number}" for number in range(40_000)]
    lines = "".join(f"{number},{number},{kind}\n" for number, kind in enumerate(kinds))
    data = read(tmp_path, "user,item,event\n" + lines, event_column="event", events=kinds)
    assert data.ratings[EVENT].tolist() == list(range(40_000))


def test_an_event_that_does_not_occur_is_said(tmp_path: Path) -> None:
    data = read(tmp_path, EVENTS, events={"view": 1, "purchse": 10})
    assert data.warnings == (
        "r.csv: the column event has no event purchse, which events names, but view, purchase, cart, review, remove; "
        "did you mean purchase?",
    )
    with pytest.raises(DataError, match="has no event buy, which events names, but view, purchase"):
        read(tmp_path, EVENTS, events=["buy"])
    with pytest.raises(DataError, match="events is set, but there is no event_column; the columns are user, artist"):
        read(tmp_path, PLAYS, events=["view"])


def test_counts_are_weights(tmp_path: Path) -> None:
    data = read(tmp_path, PLAYS)
    assert data.implicit
    assert (found(data)["weight_column"], found(data)["rating_column"]) == ("plays", None)
    assert (found(data)["weight_scale"], found(data)["repeats"]) == ("log", "sum")
    linear = read(tmp_path, PLAYS, weight_scale="linear")
    assert sum(weights(linear).values()) == sum(int(line.rpartition(",")[2]) for line in PLAYS.splitlines()[1:])
    assert weights(data) == pytest.approx({pair: np.log1p(n) for pair, n in weights(linear).items()}, rel=1e-6)
    stars = read(tmp_path, PLAYS, rating_column="plays")
    assert not stars.implicit
    assert stars.rating_max == 99000


def test_a_column_without_bound_is_counts_whatever_its_name(tmp_path: Path) -> None:
    data = read(tmp_path, PLAYS.replace("plays", "rating"))
    assert data.implicit
    assert (found(data)["weight_column"], found(data)["rating_column"]) == ("rating", None)
    assert weights(data) == weights(read(tmp_path, PLAYS))


def test_hours_of_events(tmp_path: Path) -> None:
    text = '1,"Game, The",purchase,1.0,0\n1,"Game, The",play,26.5,0\n2,"Game, The",purchase,1.0,0\n2,Other,play,0.0,0\n'
    options = {"header": False, "event_column": 2, "weight_column": 3, "weight_scale": "linear", "user_column": 0}
    data = read(tmp_path, text, item_column=1, events={"purchase": 2, "play": 1}, **options)
    assert weights(data) == {("1", "Game, The"): 28.5, ("2", "Game, The"): 2}
    assert "1 without a weight > 0" in account(data)


@pytest.mark.parametrize(
    ("values", "options", "kept", "reason"),
    [
        (["1", "", "NA", "5", "null"], {}, [1, 5], "3 not rated"),
        (["1", "99", "3", "5", "99.0"], {"missing": [99]}, [1, 3, 5], "2 not rated"),
        (["1", "99", "3", "5", "-1"], {"missing": [99, -1, "?"]}, [1, 3, 5], "2 not rated"),
        (["1", "?", "3", "5", "4"], {"missing": "?"}, [1, 3, 5, 4], "1 not rated"),
        (["1", "2", "3", "5", "4"], {"missing": None}, [1, 2, 3, 5, 4], None),
        (["0", "2", "3", "5", "99"], {"missing": None}, [0, 2, 3, 5, 99], None),
    ],
)
def test_values_that_mean_not_rated(
    values: list[str], options: dict[str, Any], kept: list[float], reason: str | None, tmp_path: Path
) -> None:
    text = "user_id,item_id,rating\n" + "".join(f"{n % 2},{n},{value}\n" for n, value in enumerate(values))
    data = read(tmp_path, text, **options)
    assert data.ratings[RATING].tolist() == kept
    assert (reason or "0 dropped") in account(data)
    every = read(tmp_path, text, missing_as="implicit", **options)
    assert every.implicit
    assert len(every.ratings) == len(values)
    assert WEIGHT not in every.ratings


def test_all_that_is_inferred_makes_the_same_data_when_it_is_set(tmp_path: Path) -> None:
    for text in (EVENTS, PLAYS, "user;film;stars\n1;2;3,5\n1;3;4\n2;2;\n2;3;99\n3;3;1\n3;4;2\n"):
        data = read(tmp_path, text)
        again = read(tmp_path, text, **(dict(data.settled) | found(data)))
        assert again.sha256 == data.sha256
        assert again.counts == data.counts
        assert not again.findings


def test_text_ids_that_look_like_nothing(tmp_path: Path) -> None:
    header = "user_id,item_id,rating\n"
    texts = read(tmp_path, header + "nan,x,1\nNULL,y,2\n ,x,3\nanna,,4\nnan,y,5\n anna ,x,5\n")
    assert texts.ratings[USER_ID].tolist() == ["nan", "NULL", "nan", "anna"]
    assert account(texts) == "6 rows of it: 4 ratings, 0 refused, 2 dropped (1 no user id, 1 no item id)"
    (warning,) = texts.warnings
    assert warning == ("r.csv: 3 rows have nan, NULL in the column user_id, taken as an id like the other texts there")
    numbers = read(tmp_path, header + "nan,1,1\nNULL,2,2\n1.0,1,3\n2,,4\n2,2,5\n")
    assert numbers.ratings[[USER_ID, ITEM_ID]].to_numpy().tolist() == [[1, 1], [2, 2]]
    assert "2 no user id, 1 no item id" in account(numbers)
    assert not numbers.warnings


def test_nothing_left_says_why(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"r.csv: no ratings are left of 2 rows \(2 not rated\)"):
        read(tmp_path, "user_id,item_id,rating\n1,1,\n1,2,NA\n", rating_column="rating")


def test_columns_must_differ(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"r.csv: user_column, item_column, .* must differ, got"):
        read(tmp_path, "7,1,3\n8,1,2\n8,2,3\n", header=False, columns=["a", "b", "c"], user_column=0, item_column="a")


def test_bad_rows_are_refused_or_counted(tmp_path: Path) -> None:
    text = "user_id,item_id,rating\n1,1,3\n1,2,x\n2,1\n2,2,4\n"
    with pytest.raises(DataError, match=r"r.csv, line [34]: "):
        read(tmp_path, text, rating_column="rating")
    data = read(tmp_path, text, bad_rows="drop", rating_column="rating")
    assert account(data) == "4 rows of it: 2 ratings, 2 refused, 0 dropped"


def test_numbers_with_thousands_are_asked_for_or_read(tmp_path: Path) -> None:
    def plays(*texts: str) -> str:
        return "user;item;plays\n" + "".join(f"{n % 4};{n};{texts[n % len(texts)]}\n" for n in range(40))

    with pytest.raises(UndecidedError, match=r"may be 1234 or 1\.234; set data\.decimal=\. or data\.decimal=,") as one:
        read(tmp_path, plays("1,234", "2,468", "12"))
    assert one.value.choices == [{"decimal": "."}, {"decimal": ","}]
    with pytest.raises(UndecidedError, match=r"may be 1234 or 1\.234; set data\.decimal=, or data\.decimal=\."):
        read(tmp_path, plays("1.234", "2.468", "7.123"))
    for options, text in (
        ({"decimal": "."}, plays("1,234", "12")),
        ({"decimal": ","}, plays("1.234", "12")),
        ({}, plays("1,234", "12,345,678", "12")),
        ({}, plays("1.234", "12.345.678", "12")),
    ):
        data = read(tmp_path, text, weight_scale="linear", **options)
        assert weights(data)[0, 0] == 1234
    assert weights(read(tmp_path, plays("1,234", "0,5"), weight_scale="linear"))[0, 0] == pytest.approx(1.234)


@pytest.mark.parametrize(
    ("name", "yes", "no"),
    [("liked", "true", "false"), ("click", "1", "0"), ("liked", "1", "-1"), ("purchased", "yes", "No"),
     ("rating", "True", "False"), ("answer", "1", "0"), ("reaction", "like", "dislike"),
     ("rating", "thumbs up", "thumbs down"), ("swipe", "liked", "skipped"), ("status", "completed", "cancelled"),
     ("interested", "Y", "N"), ("swipe", "right", "left"), ("returned", "false", "true"), ("skipped", "0", "1")],
)  # fmt: skip
def test_what_was_not_liked_is_left_out_and_counted(tmp_path: Path, name: str, yes: str, no: str) -> None:
    rows = [(n // 8, n * 3 % 10, yes if n * n % 7 < 3 else no) for n in range(80)]
    data = read(tmp_path, f"user_id,item_id,{name}\n" + "".join(f"{u},{i},{text}\n" for u, i, text in rows))
    assert data.implicit
    liked = {(u, i) for u, i, text in rows if text == yes}
    assert set(data.ratings[[USER_ID, ITEM_ID]].itertuples(index=False, name=None)) == liked
    assert data.counts is not None
    assert sum(data.counts.dropped.values()) == len(rows) - len(liked)


def test_a_flag_of_something_else_does_not_weigh(tmp_path: Path) -> None:
    rows = "".join(f"{n // 8},{n * 3 % 10},{n % 2},{n % 3 % 2}\n" for n in range(80))
    assert len(read(tmp_path, "user_id,item_id,weekend,mobile\n" + rows).ratings) == 80


def test_quantities_with_returns_are_weights(tmp_path: Path) -> None:
    rows = [(n // 8, n * 3 % 10, -2 if n % 9 == 0 else n % 5 + 1) for n in range(80)]
    data = read(tmp_path, "CustomerID,StockCode,Quantity\n" + "".join(f"{u},{i},{q}\n" for u, i, q in rows))
    assert (data.implicit, found(data)["weight_column"]) == (True, "Quantity")
    assert "9 without a weight > 0" in account(data)


def test_a_single_rating_can_be_read_again_as_inferred(tmp_path: Path) -> None:
    text = "user_id,item_id,rating\n1,2,3\n"
    data = read(tmp_path, text)
    assert (data.rating_min, data.rating_max) == (3, 3)
    assert read(tmp_path, text, **(dict(data.settled) | found(data))).sha256 == data.sha256
