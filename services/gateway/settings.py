"""The gateway's settings: those of every service, the pepper of the API keys, and limits."""

from pydantic import Field, SecretStr, field_validator

from servemark.runtime.settings import ServiceSettings
from services.gateway.key_limits import KeyLimits

MIN_PEPPER_LENGTH = 32


class GatewaySettings(ServiceSettings):
    """`SERVEMARK_KEY_PEPPER` is the secret without which a stolen table of keys is worth nothing.

    Every gateway of one database needs the same; another one makes every key invalid.
    `SERVEMARK_KEY_…` are the limits of a key that has none of its own.
    """

    key_pepper: SecretStr
    key_calls_per_second: float = Field(default=2_000, gt=0)
    key_rows_per_second: float = Field(default=1_000_000, gt=0)
    key_concurrent_calls: int = Field(default=400, ge=1)
    key_concurrent_streams: int = Field(default=400, ge=1)
    key_calls_per_day: int = Field(default=50_000_000, ge=1)
    key_rows_per_day: int = Field(default=1_000_000_000, ge=1)
    stream_idle_seconds: float = Field(default=300, ge=1)
    stream_stall_seconds: float = Field(default=60, ge=1)

    @field_validator("key_pepper")
    @classmethod
    def _long_enough(cls, value: SecretStr) -> SecretStr:
        if len(value.get_secret_value()) < MIN_PEPPER_LENGTH:
            raise ValueError(f"must have at least {MIN_PEPPER_LENGTH} characters")
        return value

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
