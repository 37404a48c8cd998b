"""Calls on behalf of organizations, as the gateway makes them."""

from servemark.runtime import tenancy
from servemark.runtime.tenancy import PLATFORM, PUBLIC, Tenant

Pairs = tuple[tuple[str, str], ...]


def said(tenant: Tenant) -> Pairs:
    """The metadata the gateway sends for the tenant."""
    if tenant is PLATFORM:
        return ()
    if tenant is PUBLIC:
        return ((tenancy.CALLER, "of-an-older-gateway"),)
    return tuple(tenancy.to_metadata(tenant))
