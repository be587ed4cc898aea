"""Each acknowledged commit has been synced to disk, which killing processes alone cannot tell."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.serve.conftest import ROOT, clean_environment

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace: apt-get install strace"),
]

APPEND = """
import asyncio, sys
from recsys.database import Database
from recsys.events import Event, EventLog, GroupCommit

writer = GroupCommit(EventLog(Database.open(sys.argv[1])))

async def main():
    for n in range(20):
        await writer.append([Event(f"e{n}", "7", "50", "rating", 4.0, n)])
        print("acknowledged", n, flush=True)

asyncio.run(main())
"""


def test_a_sync_of_the_log_comes_before_each_acknowledgement(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    command = ["strace", "-f", "-y", "-e", "trace=fsync,fdatasync,write", "-o", str(trace)]
    done = subprocess.run(
        [*command, sys.executable, "-c", APPEND, f"sqlite:///{tmp_path}/live.db"],
        cwd=ROOT, env=clean_environment(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    if "ptrace" in done.stderr.lower():
        pytest.skip(f"strace may not trace here: {done.stderr.splitlines()[0]}")
    assert done.returncode == 0, done.stderr
    steps = re.findall(
        r"(f(?:data)?sync)\(\d+<[^>]*live\.db-wal>|write\(\d+<[^>]*>, \"(acknowledged)", trace.read_text()
    )
    of_each = "".join("a" if told else "s" for _, told in steps)
    assert of_each.count("a") == 20
    assert re.fullmatch("(s+a){20}s*", of_each)
