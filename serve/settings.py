"""Settings: each field is an environment variable `RECSYS_<FIELD>` and a flag `--<field>`."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cached_property
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated

from pydantic import AliasChoices, Field, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from recsys.bundle import Budget
from serve.access.addresses import addresses, is_loopback
from serve.access.hosts import PATTERN
from serve.access.key_file import KEYS_FILE, KeyFileError, read_keys

ORIGIN = re.compile(r"\*|[a-z][a-z0-9+.-]*://(?:[a-z0-9._-]+|\[[0-9a-f:]+\])(?::[1-9]\d{0,4})?")


class Settings(BaseSettings):
    """Serve the bundle of a training run over HTTP. Each flag --some-name can be set as RECSYS_SOME_NAME, too."""

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

    bundle: Path | None = Field(None, description="folder of a bundle or of a run")
    pointer: Path | None = Field(
        None, description="file with the path of the bundle; when it changes, the new bundle is swapped in"
    )
    runs: Path = Field(Path("outputs"), description="where to find the latest finished run if neither is given")
    host: str = Field("127.0.0.1", description="address to listen on")
    port: Annotated[int, Field(ge=0, le=65535)] = Field(8000, description="port to listen on; 0 picks a free one")
    workers: Annotated[int, Field(ge=1, le=256)] = Field(1, description="number of worker processes")
    poll_seconds: Annotated[float, Field(gt=0, le=3600)] = Field(1.0, description="time between reads of the pointer")
    drain_seconds: Annotated[float, Field(ge=0, le=600)] = Field(
        1.0, description="time between SIGTERM, when /health/ready turns 503, and the end of listening"
    )
    max_body_bytes: Annotated[int, Field(ge=0)] = Field(
        1_000_000, description="maximum size of a request body; 0 for no limit"
    )
    body_seconds: Annotated[float, Field(gt=0, le=3600)] = Field(
        10.0, description="timeout for receiving a request body"
    )
    stop_seconds: Annotated[float, Field(gt=0, le=3600)] = Field(
        1.0,
        description="timeout for requests in flight after the service stops listening; more than 1 counts as 1, since "
        "the service ends within drain_seconds + 2 s of SIGTERM",
    )
    # A new bundle is loaded and probed in a process of its own first.
    max_bundle_bytes: Annotated[int, Field(ge=1)] = Field(Budget.bytes, description="bytes of the files of a bundle")
    max_bundle_memory: Annotated[int, Field(ge=1 << 20)] = Field(
        Budget.memory,
        description="bytes that a bundle may take once loaded, by its shapes, and the process that checks it",
    )
    max_bundle_work: Annotated[int, Field(ge=1)] = Field(
        Budget.work, description="multiplications that an answer from a bundle may take; a core does 10^10 in a second"
    )
    verify_key: Path | None = Field(
        None, description="file of an Ed25519 public key: only bundles that are signed for it are served"
    )
    candidate_seconds: Annotated[float, Field(gt=0, le=3600)] = Field(
        120.0, description="time that the check of a bundle may take, and the loading of it then"
    )
    max_in_flight: Annotated[int, Field(ge=0)] = Field(
        256, description="maximum number of concurrent requests per worker, then 503; 0 for no limit"
    )
    max_wait_seconds: Annotated[float, Field(gt=0, le=3600)] = Field(
        0.2, description="time that a request may wait until it is begun, then 503"
    )
    # Connections of each worker. When there are too many, the oldest one without a request is closed.
    max_connections: Annotated[int, Field(ge=1)] = Field(1000, description="maximum number of connections per worker")
    max_connections_per_address: Annotated[int, Field(ge=0)] = Field(
        200, description="the same per client address, trusted proxies excepted; 0 for no limit"
    )
    first_byte_seconds: Annotated[float, Field(gt=0, le=3600)] = Field(
        5.0, description="time until a new connection has sent something"
    )
    header_seconds: Annotated[float, Field(gt=0, le=3600)] = Field(
        5.0, description="timeout for receiving a request's whole header, then 408"
    )
    max_header_bytes: Annotated[int, Field(ge=1024)] = Field(
        16_384, description="maximum size of a request's header, then 431"
    )
    idle_seconds: Annotated[float, Field(gt=0, le=3600)] = Field(
        30.0, description="time for which a connection is kept for the next request, or for its answer to be read"
    )
    operations_port: Annotated[int, Field(ge=0, le=65535)] | None = Field(
        None, description="another port, for health and metrics only, where nothing is refused; 0 picks a free one"
    )
    operations_host: str = Field("127.0.0.1", description="address of the operations port")
    expose_user_ratings: bool | None = Field(
        None,
        validation_alias=AliasChoices("expose_user_ratings", "histories"),  # the former name still works
        description="whether users' ratings are exposed, including in explanations (default: on loopback only, and "
        "behind no trusted proxy); which titles they rated can still be inferred from exclude_seen",
    )
    # Who may ask. Lists are separated by commas.
    keys: Path | None = Field(
        None,
        description="file of API keys, made by `recsys keys add`; needed unless host is a loopback address (then "
        f"{KEYS_FILE} by default)",
    )
    insecure: bool = Field(False, description="serve to other machines without keys")
    rate_limit: Annotated[str, Field(pattern=r"^[1-9]\d{0,8}/(second|minute|hour|day)$")] | None = Field(
        None, description='requests per key, or per address without one, such as "600/minute"'
    )
    allowed_hosts: str = Field(
        "",
        description="names by which the service is reached, such as api.example.org or *.example.org; * for any; "
        "addresses, localhost, host and the machine's own name always are allowed",
    )
    cors_origins: str = Field("", description="origins whose pages may call the service, such as https://example.org")
    trusted_proxies: str = Field(
        "",
        description="addresses or networks of proxies whose X-Forwarded-For is believed; as others reach the service "
        "through them, it needs keys",
    )
    log_level: str = Field("info", pattern="^(debug|info|warning|error)$", description="debug, info, warning or error")

    @model_validator(mode="after")
    def _one_source(self) -> Settings:
        if self.bundle is not None and self.pointer is not None:
            raise ValueError("set either bundle or pointer, not both (also RECSYS_BUNDLE and RECSYS_POINTER)")
        return self

    def environment(self) -> dict[str, str]:
        """The variables from which another process reads these settings."""
        found = self.model_dump().items()
        return {f"RECSYS_{name.upper()}": "" if value is None else str(value) for name, value in found}  # "": unset

    @field_validator("allowed_hosts", "cors_origins", "trusted_proxies")
    @classmethod
    def _check_list(cls, value: str, about: ValidationInfo) -> str:
        check, example = LISTS[str(about.field_name)]
        for one in listed(value):
            if not check(one):
                raise ValueError(f"must be like {example}, separated by commas; {one!r:.80} is not")
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


LISTS: dict[str, tuple[Callable[[str], object], str]] = {
    "allowed_hosts": (PATTERN.fullmatch, "api.example.org, *.example.org or *"),
    "cors_origins": (ORIGIN.fullmatch, "https://example.org, http://localhost:3000 or *"),
    "trusted_proxies": (_is_network, "10.0.0.1 or 10.0.0.0/8"),
}
