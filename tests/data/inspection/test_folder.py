from __future__ import annotations

from pathlib import Path

from recsys.data.inspection.folder import ratings_of, released, side_files, survey

RATINGS = "user,item,rating,time\n" + "".join(f"{n // 5},{n % 7},{n % 5 + 1},{1128816302 + n}\n" for n in range(60))
ITEMS = "id;name\n" + "".join(f"{n:03};Film {n}\n" for n in range(7))
USERS = "user,age\n" + "".join(f"{n},{n + 20}\n" for n in range(12))


def found(folder: Path, **files: str) -> tuple[str | None, dict[str, str]]:
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(content)
    entries = survey(folder)
    ratings = ratings_of(entries)
    return ratings, side_files(folder, entries) if ratings else {}


def test_ratings_with_their_items_and_users(tmp_path: Path) -> None:
    ratings, sides = found(tmp_path, log__csv=RATINGS, things__csv=ITEMS, people__csv=USERS, README__md="# Ratings")
    assert ratings == "log.csv"
    assert sides == {"items": "things.csv", "users": "people.csv"}


def test_titles_go_before_other_tables_of_the_same_ids(tmp_path: Path) -> None:
    links = "id,imdb\n" + "".join(f"{n},{n + 100}\n" for n in range(7))
    assert found(tmp_path, log__csv=RATINGS, a__csv=ITEMS, links__csv=links)[1] == {"items": "a.csv"}


def test_items_of_other_ids_are_left_out(tmp_path: Path) -> None:
    _, sides = found(tmp_path, log__csv=RATINGS, things__csv=ITEMS.replace("00", "X"))
    assert sides == {}


def test_parts_are_one_glob(tmp_path: Path) -> None:
    assert found(tmp_path, part_1__csv=RATINGS, part_2__csv=RATINGS)[0] == "part_*.csv"


def test_files_in_folders_of_the_folder(tmp_path: Path) -> None:
    for name, content in {"log/part-0.csv": RATINGS, "log/part-1.csv": RATINGS, "about/things.csv": ITEMS}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    assert found(tmp_path) == ("log/part-*.csv", {"items": "about/things.csv"})


def test_several_files_of_ratings_are_a_choice(tmp_path: Path) -> None:
    assert found(tmp_path, first__csv=RATINGS, second__csv=RATINGS)[0] is None


def test_tags_are_no_ratings(tmp_path: Path) -> None:
    tags = "user,item,tag,time\n" + "".join(f"{n // 5},{n % 7},funny {n % 5},{1128816302 + n}\n" for n in range(60))
    assert found(tmp_path, ratings__csv=RATINGS, tags__csv=tags)[0] == "ratings.csv"


def test_a_folder_without_ratings(tmp_path: Path) -> None:
    assert found(tmp_path, things__csv=ITEMS, empty__csv="", notes__txt="one\ntwo\n") == (None, {})


def test_released_folders(tmp_path: Path) -> None:
    for name in ("ratings.dat", "movies.dat", "users.dat"):
        (tmp_path / name).write_text("")
    assert released(tmp_path) == "ml-1m"
    (tmp_path / "users.dat").unlink()
    assert released(tmp_path) == "ml-10m"
    for name in ("ratings.csv", "movies.csv"):
        (tmp_path / name).write_text("")
    (tmp_path / "ratings.dat").unlink()
    assert released(tmp_path) is None
    (tmp_path / "README.txt").write_text("This dataset (ml-25m) describes 5-star rating")
    assert released(tmp_path) == "ml-25m"
