"""On whose behalf a call is made: what it may see, and whose its results become.

The gateway says so in the metadata of every call it passes on, and lets nobody outside say it. A
call that did not come through it is Servemark's own, and sees everything.
"""

from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote
from uuid import UUID

from servemark.runtime.errors import ServemarkError
from servemark.type.v1.error_reason_pb2 import ErrorReason

ORGANIZATION: Final = "x-servemark-organization"
PUBLISHES: Final = "x-servemark-publishes"
HARDWARE: Final = "x-servemark-hardware"
# The id of the caller's key: whoever has one came through a gateway.
CALLER: Final = "x-servemark-caller"


@dataclass(frozen=True, slots=True)
class Tenant:
    """Whose call it is.

    `organization_id` None: no organization's. `publishes`: results sent become public. `hardware`:
    names of the only hardware that results may be of; empty: any. `sees_all`: Servemark's own.
    """

    organization_id: UUID | None
    publishes: bool = True
    hardware: frozenset[str] = frozenset()
    sees_all: bool = False

    @property
    def owner(self) -> UUID | None:
        """Whose results become that are sent; None: everybody's."""
        return None if self.publishes else self.organization_id

    @property
    def scope(self) -> str:
        """Names what it sees: `all`, an organization's id, or "" for what is public alone."""
        return "all" if self.sees_all else str(self.organization_id or "")


PLATFORM: Final = Tenant(None, sees_all=True)
PUBLIC: Final = Tenant(None)
"""Sees what is public, and nothing else."""

_tenant: ContextVar[Tenant] = ContextVar("servemark_tenant", default=PLATFORM)


def current() -> Tenant:
    """Whose the call being answered is; PLATFORM outside of one."""
    return _tenant.get()


def act_for(tenant: Tenant) -> None:
    """Makes the rest of the current task, and what it starts, be on behalf of `tenant`."""
    _tenant.set(tenant)


def to_metadata(tenant: Tenant) -> list[tuple[str, str]]:
    """What tells the service behind whose call it is."""
    pairs = [(PUBLISHES, "1" if tenant.publishes else "0")]
    if tenant.organization_id is not None:
        pairs.append((ORGANIZATION, str(tenant.organization_id)))
    if tenant.hardware:
        # Metadata is ASCII, and a name may hold anything.
        names = ",".join(quote(name, safe="/") for name in sorted(tenant.hardware))
        pairs.append((HARDWARE, names))
    return pairs


def from_metadata(received: Iterable[tuple[str, str | bytes]]) -> Tenant:
    """Whose call it is. Raises INVALID_FIELD for an organization that is no UUID."""
    said: Mapping[str, str | bytes] = dict(received)
    organization = said.get(ORGANIZATION)
    if organization is None:
        # A gateway of before there were organizations: what its callers may see is not known.
        return PUBLIC if CALLER in said else PLATFORM
    names = str(said.get(HARDWARE, ""))
    try:
        organization_id = UUID(str(organization))
    except ValueError as error:
        raise ServemarkError(
            ErrorReason.ERROR_REASON_INVALID_FIELD, f"The metadata {ORGANIZATION} is no UUID."
        ) from error
    return Tenant(
        organization_id,
        publishes=said.get(PUBLISHES) == "1",
        hardware=frozenset(unquote(name) for name in names.split(",") if name),
    )
