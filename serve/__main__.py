"""Serve a bundle: `python -m serve --bundle outputs/…/bundle --port 8000`."""

from __future__ import annotations

import os
import signal

if __name__ == "__main__":  # before anything that takes long: the first process of a container ignores it otherwise
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))

import contextlib
import functools
import logging
import socket
import sys
import tempfile
from shutil import rmtree

# Set before NumPy is imported: the products are too small for threads, and workers share the cores.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import uvicorn

from recsys.bundle import BundleError
from recsys.database.errors import DatabaseError
from serve.access.key_file import KeyFileError
from serve.flags import read_settings
from serve.http.server import Server, raise_descriptor_limit
from serve.live import check_database
from serve.process import logs
from serve.process.shutdown import ANSWER_SECONDS, leave
from serve.process.workers import Workers
from serve.settings import Settings


def listen(host: str, port: int) -> socket.socket:
    """A bound socket; exits with a message on failure."""
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.set_inheritable(True)
    try:
        listening.bind((host, port))
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a valid host name"
        sys.exit(f"error: cannot listen on {host}, port {port}: {reason}")
    return listening


def address_of(listening: socket.socket, host: str) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}"


def main() -> None:
    if sys.platform == "win32":  # what bounds connections, logs and checks of bundles is not there
        sys.exit("error: the service runs on Linux and macOS; on Windows, run it in WSL or in a container")
    with contextlib.suppress(KeyboardInterrupt):
        serve(read_settings())
    leave()  # threads that hang in a read or a write are not waited for


def serve(settings: Settings) -> None:
    """Serve until stopped by a signal."""
    try:
        settings.check_keys()
        check_database(settings)
    except (KeyFileError, DatabaseError) as error:
        sys.exit(f"error: {error}")
    settings = settings.decided()
    logs.configure(settings.log_level)
    if settings.keys is None and not settings.is_private:
        logging.getLogger("serve").warning(
            "other machines can reach %s, and need no key", settings.host or "all addresses"
        )
    many = settings.workers > 1
    shares = tempfile.TemporaryDirectory(prefix="recsys-metrics-") if many else contextlib.nullcontext("")
    with shares as shared:
        # Uvicorn shuts down gracefully and then re-raises the signal, whose default action would exit with an error. An
        # exception would be lost where the signal interrupts what ignores exceptions.
        remove = functools.partial(rmtree, shared, ignore_errors=True)
        signal.signal(signal.SIGTERM, lambda *_: leave(last=remove if many else None))
        if many:  # workers are new processes that read the environment; they share metrics through a folder
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = shared
            os.environ |= settings.environment()
        from serve.app import create_app
        from serve.models.model_manager import ModelManager

        try:
            models = ModelManager.from_settings(settings, load=not many)
        except BundleError as error:
            sys.exit(f"error: {error}")
        config = uvicorn.Config(
            "serve.app:from_environment" if many else create_app(settings, models), factory=many,
            workers=settings.workers, host=settings.host, port=settings.port, log_config=None, access_log=False,
            server_header=False, http="httptools", ws="none", proxy_headers=False,
            timeout_graceful_shutdown=min(settings.stop_seconds, ANSWER_SECONDS),  # type: ignore[arg-type]
        )  # fmt: skip
        sockets = [listen(settings.host, settings.port)]
        address = address_of(sockets[0], settings.host)
        print(models)
        print(f"{address} (documentation at {address}/docs); Ctrl-C stops", flush=True)
        if settings.operations_port is not None:
            sockets.append(listen(settings.operations_host, settings.operations_port))
            print(f"{address_of(sockets[1], settings.operations_host)} for health and metrics only", flush=True)
        raise_descriptor_limit()
        if many:
            if settings.bundle is None and not models.follows:
                os.environ["RECSYS_BUNDLE"] = str(models.folder)  # also for workers started later
            Workers(config, sockets, settings.drain_seconds, remove).run()
        else:
            Server(config).run(sockets)


if __name__ == "__main__":
    main()
