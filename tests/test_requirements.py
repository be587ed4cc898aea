"""What is installed: the versions of constraints.txt, every file of them verified by its hash."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from collections.abc import Iterable, Iterator
from importlib.metadata import requires
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LISTS = {file.stem: file for file in (ROOT / "requirements").glob("*.txt")}
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
EXTRAS = PROJECT["optional-dependencies"]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
INPUTS = {
    "build": ["pip", *PYPROJECT["build-system"]["requires"]],
    "serve": ["recsys-lightning[serve,signing,postgres]"],
    "train": ["recsys-lightning[train,serve,signing]"],
    **{use: [f"recsys-lightning[{use}]"] for use in ("dev", "bench", "audit")},
}


def pins(file: Path) -> dict[str, Requirement]:
    """The requirements of a list, without their hashes."""
    lines = [line.partition(" \\")[0] for line in file.read_text().splitlines() if re.match(r"\w", line)]
    found = [Requirement(line) for line in lines]
    return {canonicalize_name(requirement.name): requirement for requirement in found}


def versions(file: Path) -> dict[str, str]:
    return {name: str(requirement.specifier) for name, requirement in pins(file).items()}


def needed(texts: Iterable[str], found: set[str], without: str = "") -> set[str]:
    """All that requirements need on this machine, from what is installed; the project's extras from pyproject.toml."""
    for requirement in map(Requirement, texts):
        name = canonicalize_name(requirement.name)
        extras = sorted(requirement.extras)
        if name == "recsys-lightning":
            needed([*PROJECT["dependencies"], *(text for extra in extras for text in EXTRAS[extra])], found, without)
        elif name != without and {name, *(f"{name}[{extra}]" for extra in extras)} - found:
            found |= {name, *(f"{name}[{extra}]" for extra in extras)}
            needed(_holding(requires(name) or [], extras), found, without)
    return {name for name in found if "[" not in name}


def _holding(texts: Iterable[str], extras: list[str]) -> Iterator[str]:
    for text in texts:
        marker = Requirement(text).marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield text.partition(";")[0]


def test_every_version_of_constraints_is_exact_and_every_extra_is_there() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines)
    wanted = {canonicalize_name(Requirement(text).name) for texts in EXTRAS.values() for text in texts}
    assert wanted - set(versions(ROOT / "constraints.txt")) == {"recsys-lightning"}


@pytest.mark.parametrize("use", INPUTS)
def test_every_pin_of_a_list_is_that_of_constraints_and_has_hashes(use: str) -> None:
    assert set(LISTS) == set(INPUTS)
    text = LISTS[use].read_text()
    blocks = re.split(r"^(?=\w)", text, flags=re.M)[1:]
    assert blocks
    for block in blocks:
        first, *rest = block.rstrip("\n").split("\n")
        assert re.fullmatch(r"[\w.-]+(\[[\w,-]+\])?==[\w.]+( ; .*)? \\", first)
        assert rest
        assert all(re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}( \\)?", line) for line in rest)
    assert "://" not in text  # which index is for the machine to say
    assert versions(LISTS[use]).items() <= versions(ROOT / "constraints.txt").items(), "make lock"


@pytest.mark.parametrize("use", ["build", "train", "serve", "dev"])
def test_a_list_has_all_that_its_extras_need_but_torch_and_what_only_torch_needs(use: str) -> None:
    listed = {
        name for name, pin in pins(LISTS[use]).items() if pin.marker is None or pin.marker.evaluate({"extra": ""})
    }
    wanted = needed(INPUTS[use], set(), without="torch")
    assert listed == wanted, "make lock"


def test_only_torch_and_what_only_torch_needs_is_pinned_without_hashes() -> None:
    without = set(versions(ROOT / "constraints.txt")) - set().union(*(versions(file) for file in LISTS.values()))
    assert "torch" in without
    assert without <= needed(["torch"], set())
    assert without == {"torch", "mpmath", "networkx", "sympy"}


def test_what_the_extras_ask_for_is_listed() -> None:
    for use in ("bench", "audit"):
        asked = {canonicalize_name(Requirement(text).name) for text in EXTRAS[use]}
        assert asked - {"recsys-lightning"} <= set(versions(LISTS[use]))


FILES = [ROOT / name for name in ("Makefile", ".ci/run", "Dockerfile", "requirements/install")] + WORKFLOWS


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_everything_is_installed_by_hash_or_without_dependencies(file: Path) -> None:
    text = file.read_text().replace("\\\n", " ")
    installs = re.findall(r"\bpip\b.* (?:install|wheel) .*|^.*\binstall --.*", text, re.M)
    torch = [line for line in installs if '--constraint "$pins" "$torch"' in line]
    assert all(
        "--require-hashes" in line or "--no-deps" in line or '"$@"; }' in line for line in installs if line not in torch
    )
    assert len(torch) == (file.name == "install")
    assert "-m build" not in text or "--no-isolation" in text


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_a_workflow_uses_actions_by_digest_and_has_no_right_that_it_does_not_need(file: Path) -> None:
    text = file.read_text()
    uses = re.findall(r"uses: (.*)", text)
    assert all(re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+(\.\d+)*", line) for line in uses)
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {}
    for job in workflow["jobs"].values():
        assert "permissions" in job
        for step in job["steps"]:
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False


def test_images_are_named_by_digest() -> None:
    bases = re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(), re.M)
    assert all(re.fullmatch(r"[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}", base) for base in bases)
    assert len(set(bases)) == 1


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    return folder / "bin" / "python"


def _wheel(folder: Path, name: str) -> str:
    """Writes an empty package; returns its SHA-256."""
    path, info = folder / f"{name}-1.0-py3-none-any.whl", f"{name}-1.0.dist-info"
    files = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(
        f"{file},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip('=')},\n"
        for file, text in files.items()
    )
    with zipfile.ZipFile(path, "w") as wheel:
        for file, text in (files | {f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}).items():
            wheel.writestr(file, text)
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.slow
@pytest.mark.parametrize("tampered", [None, "tool", "package"])
def test_a_file_that_is_not_the_one_of_the_list_is_not_installed(
    tampered: str | None, environment: Path, tmp_path: Path
) -> None:
    lists = tmp_path / "requirements"
    lists.mkdir()
    shutil.copy(ROOT / "requirements" / "install", lists)
    (tmp_path / "constraints.txt").write_text("")
    for use, name in (("build", "tool"), ("serve", "package")):
        digest = "0" * 64 if name == tampered else _wheel(tmp_path, name)
        _wheel(tmp_path, name)
        (lists / f"{use}.txt").write_text(f"{name}==1.0 \\\n    --hash=sha256:{digest}\n")
    subprocess.run([environment, "-m", "pip", "uninstall", "--quiet", "--yes", "tool", "package"], check=True)
    done = subprocess.run(
        ["bash", str(lists / "install"), str(environment), "serve"],
        env=os.environ | {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path), "PIP_CONFIG_FILE": os.devnull},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    installed = subprocess.run([environment, "-m", "pip", "freeze"], capture_output=True, text=True, check=True).stdout
    if tampered is None:
        assert done.returncode == 0, done.stderr
        assert "package==1.0" in installed
    else:
        assert done.returncode != 0
        assert "DO NOT MATCH THE HASHES" in done.stderr
        assert "package" not in installed


@pytest.mark.skipif(sys.platform == "win32", reason="bash")
def test_the_installer_is_a_program() -> None:
    assert os.access(ROOT / "requirements" / "install", os.X_OK)
