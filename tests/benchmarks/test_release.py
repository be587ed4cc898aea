"""The size of a code base that is known by construction."""

from __future__ import annotations

from pathlib import Path

from benchmarks.load.service import ROOT
from benchmarks.release import Version, code

FILES = {
    "recsys/__init__.py": "",
    "recsys/train.py": "import recsys.a\n",
    "recsys/a.py": "from recsys import b\nclass Long:\n def f(self): ...\n async def g(self): ...\nclass Short: ...\n",
    "recsys/b.py": "def f():\n import importlib\n return importlib.import_module('recsys.a')\n",
    "serve/app.py": "from recsys.a import Long\n" * 9,
    "README.md": "one\ntwo\n",
    "CONTRIBUTING.md": "# C\n\n## Add a metric\n\n1. **`a.py`**\n2. **`b.py`**\n\n## Add a route\n\n1. **`c.py`**\n",
}


def test_modules_cycles_classes_and_files_are_counted(tmp_path: Path) -> None:
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    assert code({"after": Version(tmp_path, "python")})["after"] == {
        "not_commands": ["a", "b"],
        "cycles": [["recsys.a", "recsys.b"]],
        "longest_class": (2, "Long"),
        "longest_file": (9, "serve/app.py"),
        "readme_lines": 2,
        "files_per_task": {"metric": 2, "route": 1},
    }


def test_this_code_has_no_cycles_and_few_modules_beside_the_commands() -> None:
    found = code({"after": Version(ROOT, "python")})["after"]
    assert found["cycles"] == []
    assert found["not_commands"] == ["cli", "progress"]
    assert found["longest_class"][0] <= 25
    assert found["longest_file"][0] <= 400
    assert found["readme_lines"] <= 150
