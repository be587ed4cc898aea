from __future__ import annotations

import pytest
from omegaconf import OmegaConf

from recsys.training.run import build_data


class SeededSource:
    """Takes an argument that the data module has, too."""

    def __init__(self, name: str, seed: int = 0, split: str = "mine") -> None: ...


def test_a_source_s_argument_is_not_swallowed_by_the_data_module() -> None:
    cfg = OmegaConf.create({"data": {"_target_": f"{__name__}.SeededSource", "name": "x", "seed": 1}})
    with pytest.raises(ValueError, match=r"SeededSource: data\.seed, data\.split .*rename"):
        build_data(cfg)
