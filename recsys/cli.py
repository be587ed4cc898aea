"""What the commands share: Hydra composes, and a user's mistake is one sentence and status 1, not a traceback."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path

import hydra
from hydra.errors import InstantiationException
from lightning.fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

CONF = Path(__file__).resolve().parent.parent / "conf"
MISTAKES = (ValueError, OSError, MisconfigurationException, InstantiationException, OmegaConfBaseException)

OmegaConf.register_new_resolver("first_of", lambda *values: next(v for v in values if v), replace=True)


def command(config_name: str) -> Callable[[Callable[[DictConfig], None]], Callable[[], None]]:
    """Make a function of a configuration the main function of `python -m recsys.<config_name>`."""

    def decorate(function: Callable[[DictConfig], None]) -> Callable[[], None]:
        @functools.wraps(function)
        def run(cfg: DictConfig) -> None:
            try:
                function(cfg)
            except MISTAKES as error:
                if os.environ.get("HYDRA_FULL_ERROR") == "1":
                    raise
                cause = error.__cause__ if isinstance(error, InstantiationException) else error
                print(f"error: {cause or error}", file=sys.stderr)
                sys.exit(1)

        main: Callable[[], None] = hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)(run)
        return main

    return decorate
