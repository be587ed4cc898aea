"""A bundle that would take the service with it takes a child process."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from recsys.bundle import BundleError
from recsys.bundle.signature import read_private_key, sign
from serve import candidate as module
from serve.candidate import Candidates, in_child, main
from serve.models.model_manager import ModelManager
from serve.models.pointer import write_pointer
from serve.settings import Settings
from tests.bundle.test_signature import write_keys
from tests.bundles import make_bundle, random_factors
from tests.serve.conftest import clean_environment, rich, save, until

pytestmark = pytest.mark.long


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """The folder of a bundle of some 30 MB."""
    users = 60_000
    bundle = make_bundle(random_factors(n_users=users, n_items=12, dim=64), list(range(users)), list(range(12)))
    return save(bundle, tmp_path / "large")


def rejected(folder: Path, **limits: float) -> str:
    with pytest.raises(BundleError) as error:
        Candidates(Settings(**limits)).check(folder)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_good_bundle_is_named_by_its_digest(saved: Path) -> None:
    found = Candidates(Settings()).check(saved)
    assert found == rich_digest(saved)
    ended = subprocess.run(
        [sys.executable, "-m", "serve.candidate", str(saved)], capture_output=True, text=True, check=True
    )
    assert ended.stdout == f"{found}\n"
    with pytest.raises(BundleError, match="not the one wanted"):
        Candidates(Settings()).check(saved, "0" * 64)


def rich_digest(folder: Path) -> str:
    return hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()


def test_what_exceeds_a_limit_is_told_in_a_sentence_that_names_it(large: Path) -> None:
    told = rejected(large, max_bundle_memory=1 << 20)
    assert told.startswith(str(large))
    assert "1,048,576" in told
    assert "MAX_BUNDLE_MEMORY" in told
    told = rejected(large, candidate_seconds=0.05)
    assert told == f"{large}: checking it took longer than candidate_seconds allows, 0.05 s"


def test_a_bad_bundle_keeps_its_reason(saved: Path, tmp_path: Path) -> None:
    file = saved / "factors.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    assert "factors.safetensors" in rejected(saved)
    assert "is not a bundle: it has no manifest.json" in rejected(tmp_path / "none")


def test_an_unsigned_bundle_is_refused_where_signatures_are_asked_for(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private, public = write_keys(tmp_path)
    monkeypatch.setenv("RECSYS_VERIFY_KEY", str(public))
    assert rejected(saved) == f"{saved} is not signed: it has no manifest.sig"
    in_child(saved, rich_digest(saved), Settings(verify_key=None))  # what is unset is unset there too
    sign(saved, (saved / "manifest.json").read_bytes(), read_private_key(private))
    in_child(saved, rich_digest(saved), Settings())


def test_the_system_bounds_what_no_estimate_foresees(saved: Path) -> None:
    """Memory, in a sentence, and processor time."""
    program = (
        "import sys, serve.candidate as c; from serve.models import served_model\n"
        "served_model.ServedModel.load = lambda *_, **__: {}\n"
        "sys.argv = ['serve.candidate', 'folder']\n"
        "c.main()\n"
    )

    def ended(load: str, **limits: str) -> subprocess.CompletedProcess[str]:
        environment = {**clean_environment(), **limits}
        command = [sys.executable, "-c", program.format(load)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)

    bomb = ended("bytearray(300 << 20)", RECSYS_MAX_BUNDLE_MEMORY=str(100 << 20))
    assert bomb.stderr == (
        "error: folder: checking it needs more memory than max_bundle_memory allows, 104,857,600 bytes\n"
    )
    if sys.platform == "linux":
        loop = ended("[n for n in iter(int, 1)]", RECSYS_CANDIDATE_SECONDS="0.2")
        assert -loop.returncode in (signal.SIGXCPU, signal.SIGKILL)


class Children:
    """Stands for the child processes, counts them, and does as it is told."""

    def __init__(self) -> None:
        self.checked: list[str] = []
        self.error: str | None = None
        self.seconds = 0.0

    def __call__(self, folder: Path, sha256: str, settings: Settings, *, gently: bool) -> None:
        self.gently = gently
        self.checked.append(sha256)
        time.sleep(self.seconds)
        if self.error is not None:
            raise BundleError(self.error)


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> Children:
    found = Children()
    monkeypatch.setattr(module, "in_child", found)
    return found


def test_one_worker_checks_for_all(saved: Path, tmp_path: Path, children: Children) -> None:
    workers = [Candidates(Settings(), tmp_path) for _ in range(4)]
    children.seconds = 0.1
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(lambda one: one.check(saved), workers))
    assert list(found) == children.checked == [rich_digest(saved)]
    save(rich(seed=1), saved)  # another manifest is another bundle
    assert workers[0].check(saved) == workers[1].check(saved) == rich_digest(saved)
    assert len(children.checked) == 2
    assert children.gently  # beside a service, but for the first one


def test_a_rejection_is_told_to_all_and_tried_again_later(saved: Path, tmp_path: Path, children: Children) -> None:
    first, second = (Candidates(Settings(), tmp_path) for _ in range(2))
    children.error = "spoilt"
    for one in (first, second):
        with pytest.raises(BundleError, match="spoilt"):
            one.check(saved, fresh_seconds=60)
    assert len(children.checked) == 1
    children.error = None
    assert first.check(saved, fresh_seconds=0) == second.check(saved, fresh_seconds=60)
    assert len(children.checked) == 2


def test_a_check_that_never_ends_holds_no_other_worker_for_ever(
    saved: Path, tmp_path: Path, children: Children, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.0)
    children.seconds = 1.0
    settings = Settings(candidate_seconds=0.1)
    holding = threading.Thread(target=Candidates(settings, tmp_path).check, args=[saved])
    holding.start()
    until(lambda: children.checked)
    with pytest.raises(BundleError, match="does not end"):
        Candidates(settings, tmp_path).check(saved)
    holding.join()


def test_a_swap_that_would_take_too_much_leaves_the_old_bundle(large: Path, tmp_path: Path) -> None:
    write_pointer(tmp_path / "serving", save(rich(), tmp_path / "first"))
    models = ModelManager.from_settings(Settings(pointer=tmp_path / "serving", max_bundle_memory=1 << 20))
    first = models.current
    assert first is not None, models.last_error
    write_pointer(tmp_path / "serving", large)
    assert models.poll() is None
    assert models.current is first
    assert "max_bundle_memory" in str(models.last_error).lower()


def test_whatever_ends_the_child_is_told(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ended_by(program: str) -> str:
        real = subprocess.Popen

        def start(command: list[str], **options: object) -> subprocess.Popen[bytes]:
            return real([sys.executable, "-c", program], **options)  # type: ignore[call-overload, no-any-return]

        monkeypatch.setattr(module.subprocess, "Popen", start)
        with pytest.raises(BundleError) as error:
            in_child(saved, "0" * 64, Settings(candidate_seconds=20))
        monkeypatch.undo()
        assert "\n" not in str(error.value)
        return str(error.value)

    assert "by signal 9" in ended_by("import os; os.kill(os.getpid(), 9)")
    assert "candidate_seconds" in ended_by("import os, signal; os.kill(os.getpid(), signal.SIGXCPU)")
    assert "status 3" in ended_by("import sys; sys.exit(3)")
    assert "status 0" in ended_by("print('another digest')")
    assert ended_by("import sys; sys.exit('error: spoilt')") == "spoilt"


def test_the_child_has_no_socket_and_ends_with_its_parent(large: Path, tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [
            sys.executable, "-c",
            "import socket, sys, time, serve.candidate as c; from pathlib import Path\n"
            "from serve.settings import Settings\n"
            "listening = socket.create_server(('127.0.0.1', 0)); listening.set_inheritable(True)\n"
            "real = c.subprocess.Popen\n"
            "def start(*a, **k):\n"
            "    child = real([sys.executable, '-c', 'import serve.candidate as c, threading, time; '\n"
            "        'threading.Thread(target=c.end_with_parent, daemon=True).start(); time.sleep(60)'], **k)\n"
            "    print(child.pid, flush=True)\n"
            "    return child\n"
            "c.subprocess.Popen = start\n"
            f"c.in_child(Path({str(large)!r}), '0' * 64, Settings())\n",
        ],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    if sys.platform == "linux":
        opened = [str(file.readlink()) for file in Path(f"/proc/{child}/fd").iterdir()]
        assert not [name for name in opened if name.startswith("socket:")]
    parent.send_signal(signal.SIGKILL)
    parent.wait(10)
    until(lambda: not is_alive(child))


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    if sys.platform == "linux":  # a zombie that nobody reaps is none
        try:
            return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except (FileNotFoundError, ProcessLookupError):
            return False
    return True


def test_the_command_tells_one_line(
    saved: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "_limit", lambda settings: None)
    monkeypatch.setattr("sys.argv", ["serve.candidate", str(saved)])
    main()
    assert capsys.readouterr().out == f"{rich_digest(saved)}\n"
    (saved / "items.json").unlink()
    with pytest.raises(SystemExit, match=r"error: [^\n]*items\.json is missing"):
        main()
