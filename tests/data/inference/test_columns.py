from __future__ import annotations

from typing import Any

import pytest

from recsys.data.errors import DataError
from recsys.data.inference.columns import infer_columns
from recsys.data.readers.format import Sample


def sample(header: str, *rows: str) -> Sample:
    cells = [row.split(",") for row in rows]
    columns = header.split(",") if header else [str(place) for place in range(len(cells[0]))]
    return Sample(columns, cells, list(range(1, len(cells) + 1)))


def columns(header: str, *rows: str, **given: Any) -> tuple[str | None, ...]:
    """Columns of user, item, rating, time, event, weight."""
    options, _ = infer_columns(sample(header, *rows), given)
    roles = ("user", "item", "rating", "timestamp", "event", "weight")
    return tuple(options.get(f"{role}_column") for role in roles)


STARS = ("u1,i1,3,1128816302", "u1,i2,4,1128816303", "u2,i1,5,1128816304", "u2,i3,1,1128816305")


@pytest.mark.parametrize(
    ("header", "row", "expected"),
    [
        ("userId,movieId,rating,timestamp", "1,2,3.5,1128816302", "userId movieId rating timestamp - -"),
        ("User-ID,ISBN,Book-Rating", "1,0195153448,5", "User-ID ISBN Book-Rating - - -"),
        ("user_id,anime_id,rating", "1,20,8", "user_id anime_id rating - - -"),
        ("userID,artistID,weight", "2,51,13883", "userID artistID - - - weight"),
        ("overall,reviewerID,asin,reviewerName,reviewText,unixReviewTime",
         "5.0,A2SUAM1J3GNN3B,0000013714,J. M.,nice,1252800000", "reviewerID asin overall unixReviewTime - -"),
        ("rating,title,asin,parent_asin,user_id,timestamp,helpful_vote,verified_purchase",
         "5,good,B01,B01,AE2,1588687728923,0,True", "user_id asin rating timestamp - -"),
        ("timestamp,visitorid,event,itemid,transactionid", "1433221332117,257597,view,355908,",
         "visitorid itemid - timestamp event -"),
        ("event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session",
         "2019-10-01 00:00:00 UTC,view,44600062,2103807459595387724,,shiseido,35.79,541312140,72d76fde",
         "user_id product_id - event_time event_type -"),
        ("InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country",
         "536365,85123A,LIGHT,6,2010-12-01 08:26,2.55,17850,UK", "CustomerID StockCode - InvoiceDate - Quantity"),
        ("review_id,user_id,business_id,stars,date,text,useful,funny,cool",
         "r1,u1,b1,4,2005-01-01,x,0,0,0", "user_id business_id stars date - -"),
        ("book_id,user_id,rating", "1,314,5", "user_id book_id rating - - -"),
        ("userID,placeID,rating,food_rating,service_rating", "U1077,135085,2,2,2", "userID placeID rating - - -"),
        ("Kundennummer,Artikelnummer,Bewertung,Datum", "k1,a1,3,2005-01-01",
         "Kundennummer Artikelnummer Bewertung Datum - -"),
        ("Kunden-Nr.,Produkt,Sterne,Zeitpunkt", "k1,a1,3,2005-01-01", "Kunden-Nr. Produkt Sterne Zeitpunkt - -"),
        ("utilisateur,film,note,date", "k1,a1,3,2005-01-01", "utilisateur film note date - -"),
        ("id_usuario,id_película,puntuación,fecha", "1,1,3,2005-01-01",
         "id_usuario id_película puntuación fecha - -"),
        ("user.id,item.id,stars", "1,2,3", "user.id item.id stars - - -"),
        ("USER_ID,ITEM_ID,EVENT_VALUE,TIMESTAMP", "1,2,3,1128816302", "USER_ID ITEM_ID EVENT_VALUE TIMESTAMP - -"),
        ("customer,track,plays", "1,2,3", "customer track - - - plays"),
        (",userId,movieId,rating", "0,1,2,3", "userId movieId rating - - -"),
        ("user_id,user_name,item_id,item_name,rating", "1,ann,2,heat,3", "user_id item_id rating - - -"),
        ("user_name,movie_title,rating", "ann,heat,3", "user_name movie_title rating - - -"),
    ],
)  # fmt: skip
def test_names_of_public_data_sets_and_exports(header: str, row: str, expected: str) -> None:
    assert " ".join(name or "-" for name in columns(header, row)) == expected


@pytest.mark.parametrize("order", ["0123", "1023", "2013", "3012", "3210", "0132"])
def test_columns_without_names_are_found_in_any_order(order: str) -> None:
    cells = [[f"u{n // 5}", f"i{n % 7}", f"{n % 5 + 1}", str(1128816302 + 977 * n)] for n in range(60)]
    rows = [",".join(row[int(place)] for place in order) for row in cells]
    assert columns("", *rows)[:4] == tuple(str(order.index(place)) for place in "0123")


def test_integer_ids_without_names_are_user_and_item_in_this_order() -> None:
    rows = [f"{n // 5},{n % 7 + 100},{(n % 5 + 1) / 2}" for n in range(60)]
    assert columns("", *rows)[:3] == ("0", "1", "2")


def test_ids_without_names_sorted_by_the_second_column_are_asked_for() -> None:
    rows = [f"{n % 7 + 100},{n // 5},{(n % 5 + 1) / 2}" for n in range(60)]
    with pytest.raises(DataError, match=r"data\.user_column=0 data\.item_column=1, or data\.user_column=1"):
        columns("", *rows)
    assert columns("", *rows, user_column="1")[1] == "0"


def test_reviewers_and_products_are_told_by_their_ids() -> None:
    rows = [f"B{n % 7:09},A{n // 5:013},{n % 5 + 1}.0,{1128816302 + n * 977}" for n in range(60)]
    assert columns("", *rows)[:4] == ("1", "0", "2", "3")


def test_an_event_log_without_names() -> None:
    rows = [f"{100 + n // 9},Game {n % 7},{('purchase', 'play')[n % 2]},{1 + n % 2 * n / 3:.1f},0" for n in range(60)]
    assert columns("", *rows) == ("0", "1", None, None, "2", "3")


def test_a_category_that_the_item_determines_is_no_id() -> None:
    rows = [
        f"{n // 5 * 37},{n * 7 % 20},{n * 7 % 20 // 5},{('pv', 'buy')[n % 3 == 0]},{1511544070 + n}" for n in range(60)
    ]
    assert columns("", *rows) == ("0", "1", None, "4", "3", None)


def test_a_name_beside_an_id_is_no_id() -> None:
    rows = [f"{n // 5:040x},{n * 7 % 20:08x}-ab,Artist {n * 7 % 20},{n * n * 13 + 1}" for n in range(60)]
    assert columns("", *rows) == ("0", "1", None, None, None, "3")


def test_hundreds_of_columns() -> None:
    names = ",".join(["user", "thing", *(f"feature {n}" for n in range(600))])
    with pytest.raises(DataError, match=r"data\.item_column"):
        columns(names, *(",".join(str(n % (m + 2)) for m in range(602)) for n in range(50)))


def test_plays_without_names() -> None:
    rows = [f"{n // 5},{n * 7 % 20},{n * n * 13 + 1}" for n in range(60)]
    assert columns("", *rows) == ("0", "1", None, None, None, "2")


def test_pairs_alone_are_implicit_feedback() -> None:
    rows = [f"{n // 5},{n * 7 % 20}" for n in range(60)]
    assert columns("", *rows) == ("0", "1", None, None, None, None)


def test_two_columns_equally_likely_are_asked_for() -> None:
    rows = [f"{n % 7},{n % 5},{n % 11},{n % 3 + 1}" for n in range(30)]
    with pytest.raises(
        DataError, match=r"data\.user_column=customer or data\.user_column=user_id|data\.user_column=user_id or"
    ):
        columns("user_id,customer,item,rating", *rows)
    assert columns("user_id,customer,item,rating", *rows, user_column="customer")[1:3] == ("item", "rating")


def test_an_items_file_has_no_users() -> None:
    with pytest.raises(DataError, match=r"data\.user_column"):
        columns("id,name,url", *(f"{n},Artist {n},http://example.org/{n}" for n in range(30)))


def test_what_is_given_is_kept_and_constrains_the_rest() -> None:
    assert columns("a,b,c,d", *STARS, user_column="b")[:4] == (None, "a", "c", "d")
    assert columns("user,item,rating,timestamp", *STARS, timestamp_column=None)[:3] == ("user", "item", "rating")
    with pytest.raises(DataError, match=r"no column 'x'; the columns are user, item"):
        columns("user,item,rating,timestamp", *STARS, user_column="x")


def test_times_in_no_known_form_are_asked_for() -> None:
    with pytest.raises(DataError, match=r"'when' has times such as 'spring' .*data\.timestamp_format"):
        columns("user,item,rating,when", "1,2,3,spring", "1,3,4,autumn")


def test_ratings_that_are_no_numbers_are_not_left_out() -> None:
    with pytest.raises(DataError, match=r"'rating' has ratings such as '3/5'.*data\.rating_column=null"):
        columns("user,item,rating", "1,2,3/5", "1,3,4/5")
    assert columns("user,item,rating", "1,2,3/5", "1,3,4/5", rating_column=None)[:2] == ("user", "item")


def test_rows_that_no_names_fit_are_refused() -> None:
    with pytest.raises(DataError, match=r"no rows of the 2 columns user, item; .* set data\.separator"):
        infer_columns(Sample(["user", "item"], [], []), {})


def test_more_rows_may_decide_the_order_of_day_and_month() -> None:
    header, rows = "user,item,rating,day", ["1,2,3,01/02/2019", "1,3,4,01/03/2019"]
    options, _ = infer_columns(sample(header, *rows), {}, lambda: sample(header, *rows, "1,4,5,01/28/2019"))
    assert options["timestamp_format"] == "%m/%d/%Y"
    with pytest.raises(DataError, match="cannot be told"):
        infer_columns(sample(header, *rows), {}, lambda: sample(header, *rows))


def test_a_log_may_begin_without_ratings() -> None:
    assert columns("customer,product,event,stars", "1,2,view,", "1,3,cart,")[2] == "stars"


def test_reasons_are_given() -> None:
    _, findings = infer_columns(sample("", *(f"u{n // 5},i{n % 7},{n % 5 + 1}" for n in range(30))), {})
    assert {finding.option: finding.why for finding in findings} == {
        "user_column": "ids such as u0 and i0",
        "item_column": "ids such as u0 and i0",
        "rating_column": "its values from 1 to 5",
        "timestamp_column": "no column looks like times",
    }


def test_few_bad_times_are_left_to_the_reader_which_names_their_lines() -> None:
    rows = [[str(n % 3), str(n % 4), "2000-01-01" if n else "soon"] for n in range(9)]
    options, _ = infer_columns(Sample(["user", "item", "t"], rows, [*range(9)]), {"timestamp_column": "t"})
    assert options["timestamp_format"] == "iso8601"
