from __future__ import annotations

import shlex

import numpy as np
import pytest
from omegaconf import DictConfig, OmegaConf

from recsys.data.datamodule import RatingDataModule
from recsys.training.feedback import check_feedback, ranking_command
from tests.small_data import SmallRatings, random_ratings

OVERRIDES = [
    "data=tabular",
    "data.ratings_file='my plays.csv'",
    "model=mf",
    "model.dropout=0.1",
    "data.rating_column=n",
]


def config(model: str = "mf.MatrixFactorization", **data: object) -> DictConfig:
    settings = {
        "overrides": OVERRIDES,
        "model": {"_target_": f"recsys.models.{model}"},
        "model_name": "mf",
        "data": data,
    }
    return OmegaConf.create(settings)


def module(scale: float = 1.0, *, implicit: bool = False) -> RatingDataModule:
    ratings = random_ratings(200, 30, 20)
    stars = np.random.default_rng(0).lognormal(1, 2, len(ratings)).round() + 1 if scale > 1 else ratings.rating
    ratings["rating"] = np.float32(1 if implicit else stars)
    data = RatingDataModule(SmallRatings(ratings, 1, float(ratings.rating.max()), implicit=implicit), split="random")
    data.setup()
    return data


def test_a_rating_model_needs_ratings_and_the_command_that_ranks_is_given() -> None:
    with pytest.raises(ValueError, match="small has no ratings but implicit feedback, and model=mf predicts ratings"):
        check_feedback(config(rating_column=None), module(implicit=True))
    with pytest.raises(ValueError, match=r"counts or hours \(data.weight_column=plays\)") as caught:
        check_feedback(config(rating_column=None, weight_column="plays"), module(implicit=True))
    command = str(caught.value).partition("instead: ")[2]
    words = ["python", "-m", "recsys.train", *OVERRIDES[:2], "data.rating_column=n", "model=ials"]
    assert shlex.split(command) == words
    check_feedback(config("ials.ImplicitALS", rating_column=None), module(implicit=True))


def test_counts_taken_as_stars_are_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    check_feedback(config(rating_column="n"), module())
    assert not caplog.records
    check_feedback(config(rating_column="n"), module(scale=9))
    assert (
        "look like counts, not stars; to rank items by them instead: python -m recsys.train data=tabular" in caplog.text
    )
    assert "data.rating_column=null data.weight_column=n model=ials" in caplog.text
    assert "data.rating_column=n " not in caplog.text


def test_what_chooses_or_tunes_the_model_is_left_out() -> None:
    cfg = OmegaConf.create(
        {"overrides": ["+experiment=x", "seed=3", "++model.lr=1", "trial=2", "hparams_search=optuna"]}
    )
    assert ranking_command(cfg) == "python -m recsys.train seed=3 model=ials"
