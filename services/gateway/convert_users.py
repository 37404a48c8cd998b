"""Messages about users to the gateway's own words, and back."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from servemark.gateway.v1 import user_pb2 as pb
from servemark.runtime.paging import token_invalid
from servemark.runtime.validation import Violations
from services.gateway.convert import MAX_NAME_LENGTH, page_start_from_token_key
from services.gateway.grants import SCOPES_OF_ROLE
from services.gateway.store_users import NewUser, User

MAX_EMAIL_LENGTH = 254
MAX_SUBJECT_LENGTH = 255

_NAME_OF_ROLE: dict[int, str] = {pb.Role.Value(f"ROLE_{name}"): name for name in SCOPES_OF_ROLE}
_ROLE_OF_NAME = {name: value for value, name in _NAME_OF_ROLE.items()}
# Whether it is anyone's is for the issuer of tokens to say.
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")


def new_user_from_proto(
    request: pb.CreateUserRequest, user_id: UUID, organization_id: UUID, created_by: str
) -> NewUser:
    """The user a request asks for. Raises INVALID_FIELD with every wrong field."""
    violations = Violations()
    email = violations.text("email", request.email, max_len=MAX_EMAIL_LENGTH, lower=True)
    if email and not _EMAIL.fullmatch(email):
        violations.add("email", "is not an address such as somebody@example.org")
    display_name = violations.text(
        "display_name", request.display_name, max_len=MAX_NAME_LENGTH, required=False
    )
    violations.enum("role", request.role, pb.Role.values())
    subject = violations.text(
        "subject", request.subject, max_len=MAX_SUBJECT_LENGTH, required=False
    )
    violations.raise_if_any()
    return NewUser(
        id=user_id,
        organization_id=organization_id,
        email=email,
        display_name=display_name or email[:MAX_NAME_LENGTH],
        role=_NAME_OF_ROLE[request.role],
        subject=subject or None,
        created_by=created_by,
    )


def user_to_proto(user: User) -> pb.User:
    """A user as shown."""
    message = pb.User(
        id=str(user.id),
        organization_id=str(user.organization_id),
        email=user.email,
        display_name=user.display_name,
        role=pb.Role.ValueType(_ROLE_OF_NAME[user.role]),
        subject=user.subject or "",
    )
    message.create_time.FromDatetime(user.created_at)
    if user.disabled_at is not None:
        message.disable_time.FromDatetime(user.disabled_at)
    return message


def page_start_from_token(key: Sequence[Any] | None) -> tuple[datetime, UUID] | None:
    """Where a page begins. Raises PAGE_TOKEN_INVALID: anyone can write a token."""
    start = page_start_from_token_key(key)
    if start is None:
        return None
    try:
        return start[0], UUID(start[1])
    except ValueError:
        raise token_invalid() from None
