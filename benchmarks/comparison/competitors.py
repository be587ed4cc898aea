"""Who takes part, as data: what runs it, with which settings, and what may be tuned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Value = int | float | str | bool
Settings = dict[str, Value]


@dataclass(frozen=True)
class Between:
    """Numbers from `low` to `high`; floats are rounded to two significant digits before they are tried."""

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True)
class OneOf:
    values: tuple[Value, ...]


Space = dict[str, Between | OneOf]


@dataclass(frozen=True)
class Budget:
    """The setting that buys quality with time, and the values to climb."""

    name: str
    ladder: tuple[int, ...]


@dataclass(frozen=True)
class Competitor:
    """One model of one library.

    Attributes:
        name: In results and on the command line.
        label: In tables.
        factory: `module:class` in this package, one of the classes of `contract.py`.
        documented: Settings that the library's documentation shows, or its defaults, spelt out.
        source: Where those come from.
        documented_for: What is documented differently for one data set.
        space: What may be tuned; empty where the settings are tuned already, or there is nothing to tune.
        budget: For time to a given RMSE; None where no setting buys quality.
        distributions: Whose versions a result names.
        data: Data sets that it has settings for.
        environment: Whose Python runs it; see `environments.py`.
        kind: rating or ranking: its task.
        deterministic: A seed changes nothing, so one is enough.
        quick: Takes seconds on ML-100K.
    """

    name: str
    label: str
    factory: str
    documented: Settings
    source: str
    distributions: tuple[str, ...]
    documented_for: Mapping[str, Settings] = field(default_factory=dict)
    space: Space = field(default_factory=dict)
    budget: Budget | None = None
    data: tuple[str, ...] = ("ml_100k", "ml_1m")
    environment: str = "bench"
    kind: str = "rating"
    deterministic: bool = False
    quick: bool = True

    def settings(self, data: str) -> Settings:
        """The documented settings for a data set."""
        return self.documented | self.documented_for.get(data, {})


EPOCHS = (2, 3, 4, 5, 6, 7, 8, 10, 15, 20, 30, 40, 60, 80, 100)
SURPRISE_RATES: Space = {
    "n_factors": OneOf((20, 50, 100, 200)),
    "n_epochs": Between(10, 80, log=True),
    "lr_all": Between(0.002, 0.02, log=True),
    "reg_all": Between(0.01, 0.2, log=True),
}
SURPRISE = ("scikit-surprise",)
MYFM_EXAMPLES = "ml-100k-regression.py and ml-1m-regression.py in its repository: dimension and iterations"
IDS: Settings = {  # of a chain as long as myFM's, whose mean is over nearly all sweeps too
    "model": "bayesian_mf", "model.attributes": False, "model.implicit": False, "model.embedding_dim": 10,
    "model.burn_in": 10, "model.thin": 1, "trainer.max_epochs": 100,
}  # fmt: skip
ONLY_IDS: Settings = {"model.attributes": False}  # what the others know, too
ONE_FIT: Settings = {"trainer.max_epochs": 1}

RATING = (
    Competitor(
        "surprise-baseline", "Surprise BaselineOnly (ALS)", "surprise_models:Baseline",
        {"n_epochs": 10, "reg_u": 15.0, "reg_i": 10.0}, "defaults", SURPRISE,
        space={"n_epochs": Between(5, 30), "reg_u": Between(1, 40, log=True), "reg_i": Between(1, 40, log=True)},
        budget=Budget("n_epochs", (2, 5, 10, 20)), deterministic=True,
    ),
    Competitor(
        "surprise-knn", "Surprise KNNBaseline", "surprise_models:KNN",
        {"k": 40, "min_k": 1, "similarity": "msd", "user_based": True, "min_support": 1, "shrinkage": 100}, "defaults",
        SURPRISE, deterministic=True,
        space={
            "k": OneOf((20, 40, 80)), "similarity": OneOf(("msd", "pearson_baseline")),
            "user_based": OneOf((True, False)), "min_support": OneOf((1, 3, 5)), "shrinkage": OneOf((30, 100, 300)),
        },
    ),
    Competitor(
        "surprise-svd", "Surprise SVD", "surprise_models:SVD",
        {"n_factors": 100, "n_epochs": 20, "lr_all": 0.005, "reg_all": 0.02}, "defaults", SURPRISE,
        space=SURPRISE_RATES, budget=Budget("n_epochs", EPOCHS),
    ),
    Competitor(
        "surprise-svdpp", "Surprise SVD++", "surprise_models:SVDpp",
        {"n_factors": 20, "n_epochs": 20, "lr_all": 0.007, "reg_all": 0.02}, "defaults", SURPRISE,
        space=SURPRISE_RATES | {"n_factors": OneOf((10, 20, 50)), "n_epochs": Between(10, 40, log=True)},
        budget=Budget("n_epochs", EPOCHS), quick=False,
    ),
    Competitor(
        "libmf", "LIBMF", "libmf_models:Libmf",
        {"k": 8, "nr_iters": 20, "reg": 0.1, "eta": 0.1}, "defaults of mf-train", (),
        space={
            "k": OneOf((8, 16, 32, 64, 128)), "nr_iters": Between(10, 80, log=True),
            "reg": Between(0.01, 0.3, log=True), "eta": Between(0.02, 0.3, log=True),
        },
        budget=Budget("nr_iters", EPOCHS),
    ),
    Competitor(
        "lenskit-als", "LensKit BiasedMF (ALS)", "lenskit_models:BiasedMF",
        {"embedding_size": 50, "epochs": 10, "regularization": 0.1, "damping": 5.0}, "defaults", ("lenskit", "torch"),
        environment="lenskit",
        space={
            "embedding_size": OneOf((10, 20, 50, 100)), "epochs": Between(5, 40, log=True),
            "regularization": Between(0.02, 1.0, log=True), "damping": Between(1.0, 30.0, log=True),
        },
        budget=Budget("epochs", EPOCHS),
    ),
    Competitor(
        "myfm", "myFM, ids", "myfm_models:Ids", {"rank": 10, "n_iter": 512}, MYFM_EXAMPLES, ("myfm",),
        documented_for={"ml_1m": {"rank": 32}},
        space={"rank": OneOf((8, 10, 16, 32, 48)), "n_iter": OneOf((100, 200, 512))},
        budget=Budget("n_iter", (10, 20, 30, 50, 100, 200, 512)), quick=False,
    ),
    Competitor(
        "myfm-100", "myFM, ids, 100 sweeps", "myfm_models:Ids", {"rank": 10, "n_iter": 100},
        "the defaults' 100 iterations; dimension as in its repository's examples", ("myfm",),
        documented_for={"ml_1m": {"rank": 32}}, quick=False,
    ),
    Competitor(
        "myfm-blocks", "myFM, ids + implicit both ways + attributes", "myfm_models:Blocks", {"rank": 10, "n_iter": 512},
        MYFM_EXAMPLES, ("myfm",), documented_for={"ml_1m": {"rank": 32}},
        space={"rank": OneOf((8, 10, 16, 32, 48)), "n_iter": OneOf((100, 200, 512))},
        budget=Budget("n_iter", (10, 20, 30, 50, 100, 200, 512)), quick=False,
    ),
    Competitor(
        "plain-loop", "plain PyTorch loop", "plain_loop:PlainLoop",
        {"embedding_dim": 64, "epochs": 20, "batch_size": 1024, "learning_rate": 0.001, "weight_decay": 1e-5},
        "what tutorials write: Adam at its default rate, batches of 1024, a little weight decay", ("torch",),
        space={
            "embedding_dim": OneOf((16, 32, 64, 128)), "epochs": Between(5, 40, log=True),
            "batch_size": OneOf((256, 1024, 4096)), "learning_rate": Between(0.0005, 0.02, log=True),
            "weight_decay": Between(1e-7, 1e-3, log=True),
        },
        budget=Budget("epochs", EPOCHS), quick=False,
    ),
    Competitor(
        "recsys-mf", "recsys mf", "recsys_adapter:Selected", ONLY_IDS | {"experiment": "ml_100k_mf"}, "conf/experiment",
        ("recsys", "torch", "lightning"), documented_for={"ml_1m": ONLY_IDS | {"experiment": "ml_1m_mf"}},
        budget=Budget("trainer.max_epochs", EPOCHS),
    ),
    Competitor(
        "recsys-svdpp", "recsys svdpp", "recsys_adapter:Selected", ONLY_IDS | {"experiment": "ml_100k_svdpp"},
        "conf/experiment", ("recsys", "torch", "lightning"),
        documented_for={"ml_1m": ONLY_IDS | {"experiment": "ml_1m_svdpp"}},
        budget=Budget("trainer.max_epochs", EPOCHS), quick=False,
    ),
    Competitor(
        "recsys-autorec", "recsys autorec", "recsys_adapter:Selected", {"experiment": "ml_100k_autorec"},
        "conf/experiment", ("recsys", "torch", "lightning"), documented_for={"ml_1m": {"experiment": "ml_1m_autorec"}},
        budget=Budget("trainer.max_epochs", EPOCHS), quick=False,
    ),
    Competitor(
        "recsys-mf-fast", "recsys mf, settings for speed", "recsys_adapter:FixedEpochs",
        {"experiment": "ml_1m_mf_fast"}, "conf/experiment", ("recsys", "torch", "lightning"), data=("ml_1m",),
        budget=Budget("trainer.max_epochs", EPOCHS), quick=False,
    ),
    Competitor(
        "recsys-als", "recsys als", "recsys_adapter:Selected", {"experiment": "ml_1m_als"}, "conf/experiment",
        ("recsys", "torch", "lightning"), data=("ml_1m",), budget=Budget("trainer.max_epochs", EPOCHS), quick=False,
    ),
    Competitor(
        "recsys-als-fast", "recsys als, settings for speed",
        "recsys_adapter:FixedEpochs", {"experiment": "ml_1m_als_fast"},
        "conf/experiment", ("recsys", "torch", "lightning"), data=("ml_1m",),
        budget=Budget("trainer.max_epochs", EPOCHS), quick=False,
    ),
    Competitor(
        "recsys-bayesian-mf-ids", "recsys bayesian_mf, ids, 100 sweeps",
        "recsys_adapter:FixedEpochs", IDS | {"data": "ml_100k"},
        "the sweeps and dimension of myFM's", ("recsys", "torch", "lightning"),
        documented_for={"ml_1m": {"data": "ml_1m", "model.embedding_dim": 32}}, quick=False,
    ),
    Competitor(
        "recsys-bayesian-mf", "recsys bayesian_mf", "recsys_adapter:Selected", {"experiment": "ml_100k_bayesian_mf"},
        "conf/experiment", ("recsys", "torch", "lightning"),
        documented_for={"ml_1m": {"experiment": "ml_1m_bayesian_mf"}}, quick=False,
    ),
)  # fmt: skip

IMPLICIT_SPACE: Space = {
    "factors": OneOf((32, 64, 100, 128, 256)), "regularization": Between(0.001, 10.0, log=True),
}  # fmt: skip
RANKING = (
    Competitor(
        "popularity", "most rated", "popularity:Popularity", {}, "has none", (), kind="ranking", deterministic=True,
    ),
    Competitor(
        "implicit-als", "implicit ALS", "implicit_models:ALS",
        {"factors": 100, "regularization": 0.01, "alpha": 1.0, "iterations": 15, "min_rating": 0.0}, "defaults",
        ("implicit",), kind="ranking",
        space=IMPLICIT_SPACE | {
            "alpha": Between(0.5, 40.0, log=True), "iterations": Between(5, 30), "min_rating": OneOf((0.0, 4.0)),
        },
    ),
    Competitor(
        "implicit-als-alpha", "implicit ALS, dim 64, alpha 2", "implicit_models:ALS",
        {"factors": 64, "regularization": 10.0, "alpha": 2.0, "iterations": 15, "min_rating": 0.0},
        "beside recsys-ials-same", ("implicit",), kind="ranking", data=("ml_1m",),
    ),
    Competitor(
        "implicit-bpr", "implicit BPR", "implicit_models:BPR",
        {"factors": 100, "learning_rate": 0.01, "regularization": 0.01, "iterations": 100, "min_rating": 0.0},
        "defaults", ("implicit",), kind="ranking",
        space=IMPLICIT_SPACE | {
            "learning_rate": Between(0.003, 0.1, log=True), "iterations": Between(30, 300, log=True),
            "regularization": Between(0.001, 0.1, log=True), "min_rating": OneOf((0.0, 4.0)),
        },
    ),
    Competitor(
        "recbole-bpr", "RecBole BPR", "recbole_models:BPR",
        {"embedding_size": 64, "epochs": 50, "learning_rate": 0.001, "train_batch_size": 2048},
        "defaults; a fixed number of epochs, where its default is up to 300 with early stopping",
        ("recbole", "torch", "numpy"), environment="recbole", kind="ranking", quick=False,
        space={
            "embedding_size": OneOf((32, 64, 128)), "epochs": Between(10, 100, log=True),
            "learning_rate": Between(0.0003, 0.01, log=True),
        },
    ),
    Competitor(
        "recbole-sasrec", "RecBole SASRec", "recbole_models:SASRec",
        {
            "hidden_size": 64, "n_layers": 2, "n_heads": 2, "MAX_ITEM_LIST_LENGTH": 50, "epochs": 10,
            "learning_rate": 0.001, "train_batch_size": 2048,
        },
        "defaults; a fixed number of epochs, where its default is up to 300 with early stopping",
        ("recbole", "torch", "numpy"), data=("ml_100k",), environment="recbole", kind="ranking", quick=False,
    ),
    Competitor(
        "recsys-attention", "recsys attention", "recsys_adapter:Ranked", {"experiment": "ml_100k_attention"},
        "conf/experiment", ("recsys", "torch", "lightning"),
        documented_for={"ml_1m": {"experiment": "ml_1m_attention"}}, kind="ranking", quick=False,
    ),
    Competitor(
        "rectools-sasrec", "RecTools SASRec", "rectools_models:SASRec",
        {
            "n_factors": 256, "n_blocks": 2, "n_heads": 4, "dropout_rate": 0.2, "session_max_len": 200, "epochs": 30,
            "loss": "softmax", "lr": 0.001, "batch_size": 128, "precision": "bf16-mixed",
        },
        "defaults, but for longer sessions, a fixed number of epochs, where its default is 3, and bfloat16",
        ("rectools", "torch"), environment="rectools", kind="ranking", quick=False,
        space={
            "n_factors": OneOf((64, 128, 256)), "dropout_rate": Between(0.1, 0.5), "epochs": Between(10, 60, log=True),
        },
    ),
    Competitor(
        "rectools-esasrec", "RecTools eSASRec", "rectools_models:ESASRec",
        {
            "n_factors": 256, "n_blocks": 2, "n_heads": 4, "dropout_rate": 0.2, "session_max_len": 200, "epochs": 30,
            "loss": "softmax", "lr": 0.001, "batch_size": 128, "precision": "bf16-mixed",
        },
        "as its SASRec, with LiGR layers; over few items the whole softmax takes a quarter of the time of 256 sampled "
        "ones", ("rectools", "torch"), environment="rectools", kind="ranking", quick=False,
    ),
    Competitor(
        "recsys-mf-ranking", "recsys mf, ranked by predicted stars",
        "recsys_adapter:Ranked", ONLY_IDS | {"experiment": "ml_100k_mf"},
        "conf/experiment", ("recsys", "torch", "lightning"),
        documented_for={"ml_1m": ONLY_IDS | {"experiment": "ml_1m_mf"}}, kind="ranking",
    ),
    Competitor(
        "recsys-ials-same", "recsys ials at the settings of implicit ALS, alpha 2", "recsys_adapter:RankedFixedEpochs",
        {
            "data": "ml_1m", "model": "ials", "model.embedding_dim": 64, "model.unobserved_weight": 0.5,
            "model.reg_lambda": 5.0, "model.reg_exponent": 0.0, "trainer.max_epochs": 15,
        },
        "the loss of implicit-als-alpha over alpha", ("recsys", "torch", "lightning"), kind="ranking", data=("ml_1m",),
    ),
    Competitor(
        "recsys-ials", "recsys ials", "recsys_adapter:Ranked", {"experiment": "ml_1m_ials"}, "conf/experiment",
        ("recsys", "torch", "lightning"), kind="ranking", data=("ml_1m",), quick=False,
    ),
    Competitor(
        "recsys-recent-popularity", "recsys recent_popularity", "recsys_adapter:RankedFixedEpochs",
        ONE_FIT | {"data": "ml_100k", "model": "recent_popularity", "model.window": 120},
        "the best window on validation rows", ("recsys", "torch", "lightning"),
        documented_for={"ml_1m": {"data": "ml_1m", "model.window": 730}}, kind="ranking", deterministic=True,
    ),
    Competitor(
        "recsys-item-knn", "recsys item_knn", "recsys_adapter:RankedFixedEpochs",
        ONE_FIT | {"data": "ml_100k", "model": "item_knn", "model.neighbours": 300, "model.history_half_life": 2},
        "the best on validation rows", ("recsys", "torch", "lightning"),
        documented_for={"ml_1m": {"data": "ml_1m", "model.neighbours": 100, "model.history_half_life": 3}},
        kind="ranking", deterministic=True,
    ),
    Competitor(
        "recsys-ease", "recsys ease", "recsys_adapter:RankedFixedEpochs", {"experiment": "ml_1m_ease"},
        "conf/experiment", ("recsys", "torch", "lightning"), kind="ranking", data=("ml_1m",), deterministic=True,
    ),
    Competitor(
        "recsys-slit", "recsys slit", "recsys_adapter:RankedFixedEpochs", {"experiment": "ml_100k_slit"},
        "conf/experiment", ("recsys", "torch", "lightning"),
        documented_for={"ml_1m": {"experiment": "ml_1m_slit"}}, kind="ranking", deterministic=True,
    ),
)  # fmt: skip

COMPETITORS = {competitor.name: competitor for competitor in RATING + RANKING}


def chosen(name: str) -> Competitor:
    """The competitor of this name.

    Raises:
        ValueError: There is none.
    """
    if name not in COMPETITORS:
        raise ValueError(f"competitor must be one of {', '.join(COMPETITORS)}, got {name!r}")
    return COMPETITORS[name]
