"""Settings: each field is an environment variable `RECSYS_<FIELD>` and a flag `--<field>`."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cached_property
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AliasChoices, Field, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from recsys.bundle import Budget
from serve.access.addresses import addresses, is_loopback
from serve.access.hosts import PATTERN
from serve.access.key_file import KEYS_FILE, KeyFileError, read_keys

RATE = re.compile(r"[1-9]\d{0,8}/(second|minute|hour|day)")
ORIGIN = re.compile(r"\*|[a-z][a-z0-9+.-]*://(?:[a-z0-9._-]+|\[[0-9a-f:]+\])(?::[1-9]\d{0,4})?")


class Settings(BaseSettings):
    """Serve the bundle of a training run over HTTP. Each flag --some-name is also a variable RECSYS_SOME_NAME."""

    model_config = SettingsConfigDict(
        env_prefix="RECSYS_",
        env_prefix_target="all",
        env_ignore_empty=True,
        cli_prog_name="python -m serve",
        cli_kebab_case=True,
        cli_implicit_flags="dual",
        cli_hide_none_type=True,
        cli_avoid_json=True,
    )

    bundle: Path | None = Field(None, description="folder of a bundle or of a run to serve")
    pointer: Path | None = Field(
        None,
        description="file that names the bundle, written by `make promote`; the service swaps when it changes",
    )
    alias: str | None = Field(
        None, description="alias of the database, such as champion; the service swaps when it names another version"
    )
    rank_with: Path | None = Field(
        None,
        description="folder of a bundle or run of a ranking model, which orders lists; stars, intervals and reasons "
        "are those of the bundle served",
    )
    rank_mix: Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)] = Field(
        0.0, description="with rank_with: this much of the stars beyond the average person's is added to its score"
    )
    store: str | None = Field(None, description="folder or fsspec URL of the versions (default outputs/versions)")
    runs: Path = Field(Path("outputs"), description="folder whose newest finished run is served if none is given")
    host: str = Field("127.0.0.1", description="address to listen on")
    port: Annotated[int, Field(ge=0, le=65535)] = Field(8000, description="port to listen on; 0 picks a free one")
    workers: Annotated[int, Field(ge=1, le=256)] = Field(1, description="number of worker processes")
    poll_seconds: Annotated[float, Field(gt=0, le=3600)] = Field(
        1.0, description="time between looks at the pointer or the alias"
    )
    drain_seconds: Annotated[float, Field(ge=0, le=600)] = Field(
        1.0, description="time between SIGTERM, when /health/ready turns 503, and the end of listening"
    )
    max_body_bytes: Annotated[int, Field(ge=0)] = Field(
        1_000_000, description="size of a request body, then 413; 0 for no limit"
    )
    body_seconds: Annotated[float, Field(gt=0, le=3600)] = Field(
        10.0, description="time for a client to send a body, then 408"
    )
    stop_seconds: Annotated[float, Field(gt=0, le=3600)] = Field(
        1.0,
        description="time that requests in flight have after the end of listening; more than 1 counts as 1",
    )
    # A new bundle is loaded and probed in a process of its own first.
    max_bundle_bytes: Annotated[int, Field(ge=1)] = Field(Budget.bytes, description="size of all files of a bundle")
    max_bundle_memory: Annotated[int, Field(ge=1 << 20)] = Field(
        Budget.memory,
        description="memory that a bundle may take once loaded, and the process that checks it",
    )
    max_bundle_work: Annotated[int, Field(ge=1)] = Field(
        Budget.work, description="multiplications that an answer may take; a core does 10^10 a second"
    )
    verify_key: Path | None = Field(None, description="Ed25519 public key (PEM): only bundles signed for it are served")
    candidate_seconds: Annotated[float, Field(gt=0, le=3600)] = Field(
        120.0, description="time that the check of a new bundle may take, and its loading again"
    )
    max_in_flight: Annotated[int, Field(ge=0)] = Field(
        256, description="requests at once in a worker, then 503; 0 for no limit"
    )
    max_wait_seconds: Annotated[float, Field(gt=0, le=3600)] = Field(
        0.2, description="time until a request is begun, then 503"
    )
    # Connections of each worker. When there are too many, the oldest one without a request is closed.
    max_connections: Annotated[int, Field(ge=1)] = Field(
        1000, description="connections of a worker; then the oldest one without a request is closed"
    )
    max_connections_per_address: Annotated[int, Field(ge=0)] = Field(
        200, description="the same for an address, trusted proxies excepted; 0 for no limit"
    )
    first_byte_seconds: Annotated[float, Field(gt=0, le=3600)] = Field(
        5.0, description="time for a client to send the first byte, then 408"
    )
    header_seconds: Annotated[float, Field(gt=0, le=3600)] = Field(
        5.0, description="time for a client to send the whole header, then 408"
    )
    max_header_bytes: Annotated[int, Field(ge=1024)] = Field(
        32_768,  # an id in a path has up to MAX_ID_LENGTH characters of 12 bytes
        description="size of a request's header, with path and query, then 431",
    )
    idle_seconds: Annotated[float, Field(gt=0, le=3600)] = Field(
        30.0, description="time until the next request, or until an answer is read"
    )
    operations_port: Annotated[int, Field(ge=0, le=65535)] | None = Field(
        None, description="second port, for health and metrics only, without keys; 0 picks a free one"
    )
    operations_host: str = Field("127.0.0.1", description="address of the operations port")
    expose_user_ratings: bool | None = Field(
        None,
        validation_alias=AliasChoices("expose_user_ratings", "histories"),  # the former name still works
        description="show users' ratings, also in explanations (default: only where no other machine can ask)",
    )
    database: str | None = Field(
        None,
        description="SQLAlchemy URL of the database that records what people do; without a password, which belongs "
        "into the variable",
    )
    jobs: Path = Field(Path("outputs/jobs"), description="folder of the results of jobs, if there is a database")
    max_jobs: Annotated[int, Field(ge=0, le=64)] = Field(
        1, description="jobs computed at once, by all services with this database; 0: this service computes none"
    )
    # Who may ask. Lists are separated by commas.
    keys: Path | None = Field(
        None,
        description=f"file of API keys, made by `recsys keys add` (default where other machines can ask: {KEYS_FILE})",
    )
    insecure: bool = Field(False, description="answer other machines without keys")
    rate_limit: str | None = Field(
        None, description="requests of a key, or of an address without one, such as 600/minute; then 429"
    )
    allowed_hosts: str = Field(
        "",
        description="names by which the service is asked, such as api.example.org or *.example.org; * for any",
    )
    cors_origins: str = Field("", description="pages that may call the service, such as https://example.org")
    trusted_proxies: str = Field(
        "",
        description="proxies whose X-Forwarded-For is believed, such as 10.0.0.0/8; then keys are needed",
    )
    encode_together: Annotated[int, Field(ge=1, le=1024)] = Field(
        32, description="people whose short histories a model of sequences reads at once; 1: each alone"
    )
    answer_cache_bytes: Annotated[int, Field(ge=0)] = Field(
        64 << 20, description="memory of a worker for answers that are given again as long as they are right; 0: none"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="least level of what is logged: debug, info, warning or error"
    )

    @model_validator(mode="after")
    def _one_source(self) -> Settings:
        given = [name for name in ("bundle", "pointer", "alias") if getattr(self, name) is not None]
        if len(given) > 1:
            variables = " and ".join(f"RECSYS_{name.upper()}" for name in given)
            raise ValueError(f"set either {' or '.join(given)}, not both (also {variables})")
        if self.alias is not None and self.database is None:
            raise ValueError("alias needs database, which holds what it names (also RECSYS_DATABASE)")
        return self

    @model_validator(mode="after")
    def _two_ports(self) -> Settings:
        apart = {self.host, self.operations_host} == {self.host} or {self.host, self.operations_host} & {
            "",
            "0.0.0.0",
            "::",
        }
        if self.port and self.port == self.operations_port and apart:
            raise ValueError(f"port and operations_port must be two ports, got {self.port} for both")
        return self

    def environment(self) -> dict[str, str]:
        """The variables from which another process reads these settings."""
        found = self.model_dump().items()
        return {f"RECSYS_{name.upper()}": "" if value is None else str(value) for name, value in found}  # "": unset

    @field_validator("rate_limit")
    @classmethod
    def _check_rate(cls, value: str | None) -> str | None:
        if value is not None and RATE.fullmatch(value) is None:
            raise ValueError(f"must be like {FORMS['rate_limit']}, got {value!r:.80}")
        return value

    @field_validator("allowed_hosts", "cors_origins", "trusted_proxies")
    @classmethod
    def _check_list(cls, value: str, about: ValidationInfo) -> str:
        name = str(about.field_name)
        for one in listed(value):
            if not LISTS[name](one):
                raise ValueError(f"must be like {FORMS[name]}, separated by commas; {one!r:.80} is not")
        return value

    @model_validator(mode="after")
    def _guarded_origins(self) -> Settings:
        if "*" in listed(self.cors_origins) and self.keys_file is None:
            raise ValueError("cors_origins * would let every web page read this service, which has no keys")
        return self

    @property
    def budget(self) -> Budget:
        """What a bundle may cost."""
        return Budget(bytes=self.max_bundle_bytes, memory=self.max_bundle_memory, work=self.max_bundle_work)

    @cached_property
    def is_private(self) -> bool:
        """Whether only this machine can reach the service: it listens on loopback, and stands behind no proxy."""
        return is_loopback(self.host) and not listed(self.trusted_proxies)

    @property
    def keys_file(self) -> Path | None:
        """The file of API keys; None if nobody needs one."""
        return KEYS_FILE if self.keys is None and not self.is_private and not self.insecure else self.keys

    @property
    def exposes_user_ratings(self) -> bool:
        return self.is_private if self.expose_user_ratings is None else self.expose_user_ratings

    def check_keys(self) -> None:
        """Check the keys before the service starts.

        Raises:
            KeyFileError: Other machines can reach the service, and there are no keys; or they cannot be read.
        """
        file = self.keys_file
        if file is None or not addresses(self.host):  # where nothing can listen, that is told instead
            return
        if self.keys is None and not file.exists():
            where = self.host or "all addresses"
            where = f"{where} through a trusted proxy" if is_loopback(self.host) else where
            raise KeyFileError(
                f"other machines can reach {where}: make a key with `recsys keys add NAME`, "
                f"which {file} will hold, or pass --insecure to serve everybody"
            )
        read_keys(file)

    def decided(self) -> Settings:
        """The same, with what depends on the host written out, so that workers do not look names up again."""
        return self.model_copy(
            update={"keys": self.keys_file, "expose_user_ratings": self.exposes_user_ratings, "insecure": True}
        )


def listed(text: str) -> list[str]:
    return text.replace(",", " ").split()


def _is_network(text: str) -> bool:
    try:
        return bool(ip_network(text, strict=False))
    except ValueError:
        return False


LISTS: dict[str, Callable[[str], object]] = {
    "allowed_hosts": PATTERN.fullmatch,
    "cors_origins": ORIGIN.fullmatch,
    "trusted_proxies": _is_network,
}
FORMS = {
    "database": "sqlite:///outputs/recsys.db or postgresql+psycopg://recsys@db/shop",
    "rate_limit": "600/minute, or by second, hour or day",
    "allowed_hosts": "api.example.org, *.example.org or *",
    "cors_origins": "https://example.org, http://localhost:3000 or *",
    "trusted_proxies": "10.0.0.1 or 10.0.0.0/8",
}
GROUPS = {
    "What to serve": ("bundle", "pointer", "alias", "rank_with", "rank_mix", "store", "runs", "poll_seconds"),
    "Events": ("database",),
    "Jobs": ("jobs", "max_jobs"),
    "Where": ("host", "port", "operations_port", "operations_host", "workers"),
    "Who may ask": (
        "keys", "insecure", "expose_user_ratings", "rate_limit", "allowed_hosts", "cors_origins", "trusted_proxies",
    ),
    "Answers": ("answer_cache_bytes", "encode_together"),
    "Overload": ("max_in_flight", "max_wait_seconds", "max_connections", "max_connections_per_address"),
    "Slow and large requests": (
        "first_byte_seconds", "header_seconds", "body_seconds", "idle_seconds", "max_header_bytes", "max_body_bytes",
    ),
    "New bundles": ("verify_key", "max_bundle_bytes", "max_bundle_memory", "max_bundle_work", "candidate_seconds"),
    "Logs and the end": ("log_level", "drain_seconds", "stop_seconds"),
}  # fmt: skip
