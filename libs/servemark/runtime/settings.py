"""Settings from the environment (`SERVEMARK_…`), with one sentence for each wrong variable."""

import ipaddress
import sys
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "SERVEMARK_"

ServiceName = Literal["gateway", "catalog", "ingest", "ranking"]
SERVICES: tuple[ServiceName, ...] = ("gateway", "catalog", "ingest", "ranking")
_PORT_OFFSET: dict[str, int] = {name: offset for offset, name in enumerate(SERVICES)}


class ServiceSettings(BaseSettings):
    """What every process reads. Defaults suit one machine; everything listens on loopback.

    `worker` is set by a service that starts several processes of itself, for each of them.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True)

    database_url: SecretStr = Field(description="postgresql://user:password@host:port/database")
    redis_url: SecretStr | None = None
    bind_host: str = "127.0.0.1"
    port_base: int = Field(default=50050, ge=0, le=65000)
    metrics_port: int = Field(default=9100, ge=0, le=65000)
    http_port: int = Field(default=8080, ge=0, le=65535, description="0 is any free one")
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "console"] = "json"
    reflection: bool | None = None
    internal_token: SecretStr | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    peer_tls_ca: Path | None = None
    peer_tls_cert: Path | None = None
    peer_tls_key: Path | None = None
    max_concurrent_calls: int = Field(default=512, ge=1, le=100_000)
    shutdown_grace_seconds: float = Field(default=10.0, ge=0, le=300)
    database_pool_size: int = Field(default=10, ge=1, le=200)
    catalog_target: str = ""
    ingest_target: str = ""
    ranking_target: str = ""
    ingest_workers: int = Field(default=1, ge=1, le=64)
    worker: int | None = Field(default=None, ge=1)

    @field_validator("database_url")
    @classmethod
    def _database_scheme(cls, value: SecretStr) -> SecretStr:
        if not value.get_secret_value().startswith(("postgresql://", "postgres://")):
            raise ValueError("must look like postgresql://user:password@host:port/database")
        return value

    @field_validator("redis_url")
    @classmethod
    def _redis_scheme(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(
            ("redis://", "rediss://", "unix://")
        ):
            raise ValueError("must look like redis://:password@host:port/0")
        return value

    @model_validator(mode="after")
    def _tls_files_together(self) -> "ServiceSettings":
        for name, cert, key, needed_by in (
            ("TLS", self.tls_cert, self.tls_key, self.tls_client_ca),
            ("PEER_TLS", self.peer_tls_cert, self.peer_tls_key, None),
        ):
            if (cert is None) != (key is None) or (needed_by is not None and cert is None):
                raise ValueError(f"{PREFIX}{name}_CERT and {PREFIX}{name}_KEY go together")
        if self.peer_tls_cert is not None and self.peer_tls_ca is None:
            raise ValueError(f"{PREFIX}PEER_TLS_CERT needs {PREFIX}PEER_TLS_CA")
        return self

    @model_validator(mode="after")
    def _open_only_on_loopback(self) -> "ServiceSettings":
        # Services behind the gateway trust whoever reaches them, so reaching them from elsewhere
        # takes a shared token.
        if not self.on_loopback and self.internal_token is None:
            raise ValueError(
                f"{PREFIX}INTERNAL_TOKEN is required when {PREFIX}BIND_HOST is not loopback"
            )
        return self

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine can reach the process."""
        if self.bind_host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.bind_host).is_loopback
        except ValueError:
            return False

    @property
    def reflection_enabled(self) -> bool:
        """Reflection as set; by default on loopback only."""
        return self.on_loopback if self.reflection is None else self.reflection

    @property
    def http_url(self) -> str:
        """Where the gateway's HTTP port is, as an address to type."""
        return f"http{'s' if self.tls_cert else ''}://{self.own_host}:{self.http_port}"

    @property
    def own_host(self) -> str:
        """The host by which this machine reaches what listens, as an address has it."""
        here = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.bind_host, self.bind_host)  # noqa: S104  (where it is not)
        return f"[{here}]" if ":" in here else here

    def port_offset(self, service: ServiceName) -> int:
        """How far a service's ports lie above the first of their block."""
        return _PORT_OFFSET[service]

    def port(self, service: ServiceName) -> int:
        """The gRPC port of a service; 0 (any free one) where the port base is 0."""
        return self.port_base + _PORT_OFFSET[service] if self.port_base else 0

    def metrics_port_of(self, service: ServiceName) -> int:
        """The metrics port of a service; 0 means none is opened."""
        return self.metrics_port + _PORT_OFFSET[service] if self.metrics_port else 0

    def workers_of(self, service: ServiceName) -> int:
        """How many processes of a service share its port."""
        return self.ingest_workers if service == "ingest" else 1

    def target(self, service: ServiceName) -> str:
        """Where another service is reached, `host:port`."""
        explicit = {
            "catalog": self.catalog_target,
            "ingest": self.ingest_target,
            "ranking": self.ranking_target,
        }.get(service, "")
        return explicit or f"{self.own_host}:{self.port(service)}"


S = TypeVar("S", bound=BaseSettings)


def describe_problems(error: ValidationError) -> list[str]:
    """One line for each wrong variable: its name and what it should be. Values are not repeated."""
    lines = []
    for problem in error.errors(include_url=False, include_input=False):
        name = PREFIX + "_".join(str(part) for part in problem["loc"]).upper()
        text = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "missing":
            text = "is not set"
        lines.append(f"{name}: {text}" if problem["loc"] else text)
    return lines


def load(settings: type[S]) -> S:
    """The settings from the environment. Ends the process with status 2 where one is wrong."""
    try:
        return settings()
    except ValidationError as error:
        for line in describe_problems(error):
            print(line, file=sys.stderr)
        raise SystemExit(2) from None
