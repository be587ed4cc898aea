"""Flags of commands about versions."""

from __future__ import annotations

import argparse


def add_store_flag(parser: argparse.ArgumentParser) -> None:
    """Give a command `--store`, where the versions are; see `open_store`."""
    parser.add_argument(
        "--store",
        metavar="URL",
        help="folder or fsspec URL of the versions (default: RECSYS_STORE, or outputs/versions)",
    )


def add_by_flag(parser: argparse.ArgumentParser) -> None:
    """Give a command `--by`, who runs it; None stands for `account()`."""
    parser.add_argument("--by", default=None, metavar="NAME", help="who does it (default: your account's name)")
