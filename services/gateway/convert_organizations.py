"""Messages about organizations to the gateway's own words, and back."""

from collections.abc import Sequence
from typing import Any

from servemark.gateway.v1 import organization_pb2 as pb
from servemark.runtime.paging import token_invalid
from servemark.runtime.validation import Violations
from services.gateway.convert import MAX_NAME_LENGTH
from services.gateway.store_organizations import Organization


def name_from_proto(request: pb.CreateOrganizationRequest | pb.RenameOrganizationRequest) -> str:
    """The name in a request. Raises INVALID_FIELD."""
    violations = Violations()
    name = violations.text("name", request.name, max_len=MAX_NAME_LENGTH)
    violations.raise_if_any()
    return name


def organization_ref_from_proto(request: pb.GetOrganizationRequest) -> str:
    """The name in a request; empty where it has none. Raises INVALID_FIELD."""
    violations = Violations()
    name = violations.text("name", request.name, max_len=MAX_NAME_LENGTH, required=False)
    if request.id and name:
        violations.add("name", "may not be set beside the id")
    violations.raise_if_any()
    return name


def organization_to_proto(organization: Organization) -> pb.Organization:
    """An organization as it is shown."""
    message = pb.Organization(id=str(organization.id), name=organization.name)
    message.create_time.FromDatetime(organization.created_at)
    return message


def page_start_from_token(key: Sequence[Any] | None) -> str | None:
    """The name a page begins after. Raises PAGE_TOKEN_INVALID: anyone can write a token."""
    if key is None:
        return None
    (name,) = key
    if not isinstance(name, str) or "\x00" in name or len(name) > MAX_NAME_LENGTH:
        raise token_invalid()
    return name
