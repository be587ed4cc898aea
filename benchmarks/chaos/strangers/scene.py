"""A user's machine in small: a home, a run of a stranger in it, and what tells that the stranger got further."""

from __future__ import annotations

import hashlib
import importlib
import io
import json
import logging
import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any, NamedTuple

import yaml  # type: ignore[import-untyped]

from benchmarks.run_kills import write_ratings

SECRET = "correct-horse-battery-staple-4711"  # in the environment; nobody but the user may learn it
VARIABLE = "CANARY_SECRET"
MODULES = {"report": "recsys.report.__main__", "promote": "serve.promote"}  # of commands; of others recsys.<name>
SETTINGS = (
    "data=tabular", "data.rating_min=1", "data.rating_max=5", "data.batch_size=64", "model.embedding_dim=2",
    "trainer.max_epochs=1",
)  # fmt: skip
Planted = list[tuple[str, ...]]  # commands


class Payload(NamedTuple):
    name: str
    of: str  # "interrupted" or "finished": what is in the run's folder before
    plant: Callable[[Scene], Planted]


class Outcome(NamedTuple):
    """What a payload brought.

    Attributes:
        ran: Its code was run.
        leaked: A secret of the environment was written or printed, or somebody was called up.
        wrote: A file outside the run's folder was made, changed or removed.
        showed: Raw control characters, or a command that runs what the stranger wants, was printed to be copied.
        said: The last line that was printed.
    """

    ran: bool
    leaked: bool
    wrote: bool
    showed: bool
    said: str


PAYLOADS: dict[str, Payload] = {}


def payload(of: str = "interrupted") -> Callable[[Callable[[Scene], Planted]], Callable[[Scene], Planted]]:
    """Note the function, which plants something and returns the commands to run, under its name."""

    def note(plant: Callable[[Scene], Planted]) -> Callable[[Scene], Planted]:
        PAYLOADS[plant.__name__] = Payload(plant.__name__, of, plant)
        return plant

    return note


class Scene:
    """A home, a desk from where commands are started, and a run's folder of a stranger.

    Args:
        folder: Empty; all of it is made there.
    """

    def __init__(self, folder: Path) -> None:
        self.home, self.desk, self.run, self.data = (folder / name for name in ("home", "desk", "run", "data"))
        self.ran, self.templates, self.cache = folder / "ran", folder / "templates", folder / "cache"
        for made in (self.home, self.desk, self.templates):
            made.mkdir()
        (self.home / ".bashrc").write_text("alias ls='ls --color'\n")
        (self.home / "thesis.ckpt").write_text("years of work\n")
        (self.home / "mail").mkdir()
        (self.home / "mail" / "letter.txt").write_text("dear all\n")
        write_ratings(self.data / "ratings.csv", users=40, items=30)
        self.caller = socket.create_server(("127.0.0.1", 0))
        self.caller.setblocking(False)
        self.environment = {
            VARIABLE: SECRET, "HOME": str(self.home), "RECSYS_CACHE": str(self.cache), "OMP_NUM_THREADS": "1",
            "RECSYS_DATABASE": f"sqlite:///{self.home / 'shop.db'}", "WANDB_API_KEY": "0" * 40,
            "SHOP": f"postgresql://reader:{SECRET}@db.example/shop",
            "WANDB_BASE_URL": f"http://127.0.0.1:{self.caller.getsockname()[1]}", "WANDB_SILENT": "true",
        }  # fmt: skip

    @property
    def shell(self) -> str:
        """A command whose running is noticed."""
        return f"touch {self.ran}"

    def make_templates(self) -> None:
        """Train a run, and keep it as it was after its first of three epochs, and at its end."""
        with self._at_desk():
            said = self.call("train", *SETTINGS, f"data.root={self.data}", f"hydra.run.dir={self.run}")
        if not (self.run / "metrics.json").exists():
            raise SystemExit(f"a run that nobody disturbs fails: {said}")
        shutil.copytree(self.run, self.templates / "finished")
        for name in ("metrics.json", "status.json", "checkpoints/selection.json", "checkpoints/refit_train_val.ckpt"):
            (self.run / name).unlink()
        shutil.rmtree(self.run / "bundle")
        self.change("config.yaml", {"trainer.max_epochs": 3})
        shutil.move(self.run, self.templates / "interrupted")
        shutil.copytree(self.cache, self.templates / "cache")

    def attempt(self, one: Payload) -> Outcome:
        """Plant it, run the commands, and look."""
        for left in (self.run, self.cache, self.ran):
            with suppress(FileNotFoundError):
                shutil.rmtree(left) if left.is_dir() else left.unlink()
        shutil.copytree(self.templates / "cache", self.cache)
        if one.of in ("interrupted", "finished"):
            shutil.copytree(self.templates / one.of, self.run)
        else:
            self.run.mkdir()
        with self._at_desk():
            commands = one.plant(self)
            before = self._outside()
            said = "".join(self.call(*command) for command in commands)
            after = self._outside()
        leaked = self._was_called() or SECRET in said or self._holds_secret()
        last = said.strip().splitlines()[-1:] or [""]
        return Outcome(self.ran.exists(), leaked, before != after, self._shows(said), last[0][:300])

    def _was_called(self) -> bool:
        calls = 0
        with suppress(BlockingIOError):
            while True:
                self.caller.accept()[0].close()
                calls += 1
        return calls > 0

    def call(self, name: str, *arguments: str) -> str:
        """Run a command in this process. Returns what it printed."""
        module = importlib.import_module(MODULES.get(name, f"recsys.{name}"))
        before, printed = sys.argv, io.StringIO()
        sys.argv = [f"recsys {name}", *arguments]
        try:
            with redirect_stdout(printed), redirect_stderr(printed):
                module.main()
        except SystemExit as error:
            printed.write(f"{error.code}\n" if isinstance(error.code, str) else "")
        except Exception as error:
            printed.write(f"{type(error).__name__}: {error}\n")
        finally:
            sys.argv = before
            for handler in [*logging.getLogger().handlers]:
                if isinstance(handler, logging.FileHandler):
                    logging.getLogger().removeHandler(handler)
                    handler.close()
        return printed.getvalue()

    def change(self, file: str, changes: dict[str, Any]) -> None:
        """Set values by dotted key in a YAML file of the run's folder."""
        path = self.run / file
        content = yaml.safe_load(path.read_text())
        for key, value in changes.items():
            node, (*parents, last) = content, key.split(".")
            for parent in parents:
                node = node.setdefault(parent, {})
            node[last] = value
        path.write_text(yaml.safe_dump(content))

    def resume(self) -> Planted:
        return [("train", f"resume={self.run}")]

    @contextmanager
    def _at_desk(self) -> Iterator[None]:
        folder, environment = Path.cwd(), dict(os.environ)
        os.environ.update(self.environment)
        os.chdir(self.desk)
        try:
            yield
        finally:
            os.chdir(folder)
            os.environ.clear()
            os.environ.update(environment)

    def _outside(self) -> dict[str, str]:
        """Every file of home and desk, by what it holds, and what is a link."""
        found = {}
        for top in (self.home, self.desk):
            for path in sorted(top.rglob("*")):
                if path.is_file():
                    found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest() + str(path.is_symlink())
                else:
                    found[str(path)] = str(path.is_symlink())
        return found

    def _holds_secret(self) -> bool:
        places = (self.run, self.cache, self.desk)
        files = (path for place in places for path in place.rglob("*") if path.is_file() and not path.is_symlink())
        return any(SECRET.encode() in path.read_bytes() for path in files)

    @staticmethod
    def _shows(said: str) -> bool:
        raw = any(not character.isprintable() and character not in "\n\r\t" for character in said)
        commands = [line.strip() for line in said.splitlines() if line.strip().startswith(("python -m", "recsys "))]
        return raw or any(word in line for line in commands for word in ("os.system", "--config-dir", "touch "))


def write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content))
