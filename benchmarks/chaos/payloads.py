"""What a stranger's run folder, sweep, study, bundle or cache gets done when a command reads it.

Each payload is planted in one of a small run, and the commands that read it are run. Code that ran leaves a file, a
home beside it must stay as it was, a secret of the environment is looked for in all that was written or printed, and a
server waits for calls.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from pathlib import Path

from benchmarks.chaos.campaign import Figures, Row
from benchmarks.chaos.strangers import checkpoints, configurations, links, readers, sweeps  # noqa: F401  (they note them)
from benchmarks.chaos.strangers.scene import PAYLOADS, Scene

SUMMARY = "payloads in run folders, sweeps, studies, bundles and caches of a stranger"
SHORT = 44  # every so manieth payload in the short form
SCORES = ("ran", "leaked", "wrote", "showed")


def run(*, short: bool) -> Figures:
    names = list(PAYLOADS)[SHORT // 2 :: SHORT] if short else list(PAYLOADS)
    found: Counter[str] = Counter(payloads=0)
    broken = {}
    with tempfile.TemporaryDirectory() as folder:
        scene = Scene(Path(folder).resolve())
        scene.make_templates()
        for name in names:
            outcome = scene.attempt(PAYLOADS[name])
            found["payloads"] += 1
            found.update({score: int(getattr(outcome, score)) for score in SCORES})
            if any(outcome[: len(SCORES)]):
                broken[name] = outcome.said
            if not short:
                print("BROKEN" if name in broken else "ok", name, outcome, file=sys.stderr, flush=True)
    return {**dict.fromkeys(SCORES, 0), **found, "broken": broken}


def rows(figures: Figures) -> list[Row]:
    got = (f"code run {figures['ran']}, environment leaked {figures['leaked']}, written outside {figures['wrote']}, "
           f"unsafe to show {figures['showed']}")  # fmt: skip
    what = f"{figures['payloads']} payloads in run folders, sweeps, studies, bundles and caches of a stranger"
    names = f" ({', '.join(figures['broken'])})" if figures["broken"] else ""
    return [Row(what, got + names, not any(figures[score] for score in SCORES))]
