"""The gateway's settings: those of every service, and the pepper of the API keys."""

from typing import Annotated, Any

from pydantic import SecretStr, field_validator
from pydantic_settings import NoDecode

from servemark.runtime.settings import ServiceSettings

MIN_PEPPER_LENGTH = 32


class GatewaySettings(ServiceSettings):
    """`SERVEMARK_KEY_PEPPER` is the secret without which a stolen table of keys is worth nothing.

    Every gateway of one database needs the same; another one makes every key invalid.

    Over HTTP, who sends no key may read where `http_anonymous_read` says so: by default if the port
    is on loopback. Such a request has to name this machine, or one of `http_hosts`, in its Host.
    Pages of `http_cors_origins` may call with a key. Lists are separated by commas.
    """

    key_pepper: SecretStr
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
