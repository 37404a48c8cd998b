"""The gateway's settings: those of every service, the pepper, who issues tokens, and limits."""

import ipaddress
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode

from servemark.runtime.settings import PREFIX, ServiceSettings
from services.gateway.key_limits import KeyLimits

MIN_PEPPER_LENGTH = 32


class GatewaySettings(ServiceSettings):
    """`SERVEMARK_KEY_PEPPER` is the secret without which a stolen table of keys is worth nothing.

    Every gateway of one database needs the same; another one makes every key invalid.
    Tokens are taken where all three of `SERVEMARK_OIDC_…` are set.
    `SERVEMARK_KEY_…` are the limits of a key that has none of its own.

    Over HTTP, who sends no key may read where `http_anonymous_read` says so: by default if the port
    is on loopback. Such a request has to name this machine, or one of `http_hosts`, in its Host.
    Pages of `http_cors_origins` may call with a key. Lists are separated by commas.
    """

    key_pepper: SecretStr
    oidc_issuer: str = ""
    oidc_audience: str = ""
    oidc_jwks_url: str = ""
    key_calls_per_second: float = Field(default=2_000, gt=0)
    key_rows_per_second: float = Field(default=1_000_000, gt=0)
    key_concurrent_calls: int = Field(default=400, ge=1)
    key_concurrent_streams: int = Field(default=400, ge=1)
    key_calls_per_day: int = Field(default=50_000_000, ge=1)
    key_rows_per_day: int = Field(default=1_000_000_000, ge=1)
    stream_idle_seconds: float = Field(default=300, ge=1)
    stream_stall_seconds: float = Field(default=60, ge=1)
    http_anonymous_read: bool | None = None
    http_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    http_cors_origins: Annotated[tuple[str, ...], NoDecode] = ()

    @property
    def anonymous_read_enabled(self) -> bool:
        """Anonymous reading as set; by default on loopback only."""
        return self.on_loopback if self.http_anonymous_read is None else self.http_anonymous_read

    @field_validator("http_hosts", "http_cors_origins", mode="before")
    @classmethod
    def _parts(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("key_pepper")
    @classmethod
    def _long_enough(cls, value: SecretStr) -> SecretStr:
        if len(value.get_secret_value()) < MIN_PEPPER_LENGTH:
            raise ValueError(f"must have at least {MIN_PEPPER_LENGTH} characters")
        return value

    @field_validator("oidc_jwks_url")
    @classmethod
    def _nobody_between(cls, value: str) -> str:
        # Whoever can change the keys on their way here can sign tokens for anyone.
        address = urlsplit(value)
        if value and not (
            address.hostname
            and (
                address.scheme == "https"
                or (address.scheme == "http" and _on_loopback(address.hostname))
            )
        ):
            raise ValueError("must begin with https://, or http:// on loopback")
        return value

    @model_validator(mode="after")
    def _all_of_the_issuer_or_nothing(self) -> "GatewaySettings":
        given = (self.oidc_issuer, self.oidc_audience, self.oidc_jwks_url)
        if any(given) and not all(given):
            names = ", ".join(f"{PREFIX}OIDC_{name}" for name in ("ISSUER", "AUDIENCE", "JWKS_URL"))
            raise ValueError(f"{names}: set all three or none")
        return self

    @property
    def key_limits(self) -> KeyLimits:
        """The limits of a key that has none of its own."""
        return KeyLimits(
            calls_per_second=self.key_calls_per_second,
            rows_per_second=self.key_rows_per_second,
            concurrent_calls=self.key_concurrent_calls,
            concurrent_streams=self.key_concurrent_streams,
            calls_per_day=self.key_calls_per_day,
            rows_per_day=self.key_rows_per_day,
        )


def _on_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
