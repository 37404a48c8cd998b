"""The gateway's settings: those of every service, and the pepper of the API keys."""

from pydantic import SecretStr, field_validator

from servemark.runtime.settings import ServiceSettings

MIN_PEPPER_LENGTH = 32


class GatewaySettings(ServiceSettings):
    """`SERVEMARK_KEY_PEPPER` is the secret without which a stolen table of keys is worth nothing.

    Every gateway of one database needs the same; another one makes every key invalid.
    """

    key_pepper: SecretStr

    @field_validator("key_pepper")
    @classmethod
    def _long_enough(cls, value: SecretStr) -> SecretStr:
        if len(value.get_secret_value()) < MIN_PEPPER_LENGTH:
            raise ValueError(f"must have at least {MIN_PEPPER_LENGTH} characters")
        return value
