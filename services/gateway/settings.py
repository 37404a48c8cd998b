"""The gateway's settings: those of every service, the keys' pepper, and who issues tokens."""

import ipaddress
from urllib.parse import urlsplit

from pydantic import SecretStr, field_validator, model_validator

from servemark.runtime.settings import PREFIX, ServiceSettings

MIN_PEPPER_LENGTH = 32


class GatewaySettings(ServiceSettings):
    """`SERVEMARK_KEY_PEPPER` is the secret without which a stolen table of keys is worth nothing.

    Every gateway of one database needs the same; another one makes every key invalid.
    Tokens are taken where all three of `SERVEMARK_OIDC_…` are set.
    """

    key_pepper: SecretStr
    oidc_issuer: str = ""
    oidc_audience: str = ""
    oidc_jwks_url: str = ""

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


def _on_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
