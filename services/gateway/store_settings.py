"""The SQL of an organization's settings: what holds unless a key or a call says otherwise."""

from typing import Any

from sqlalchemy import Boolean, ColumnElement, FromClause, cast, func, literal, select

from services.gateway.tables import DEFAULT_ORGANIZATION_ID, settings

PUBLISHES = "publishes"


def publishes_by_default(owned: FromClause) -> ColumnElement[bool]:
    """Whether what a row's organization sends is public unless its key says otherwise.

    Without the setting, the default organization publishes and every other keeps to itself. `owned`
    is a table with `organization_id`.
    """
    organization_id: ColumnElement[Any] = owned.c.organization_id
    chosen = (
        select(cast(settings.c.value, Boolean))
        .where(
            settings.c.organization_id == organization_id,
            settings.c.name == literal(PUBLISHES),
        )
        .scalar_subquery()
    )
    return func.coalesce(chosen, organization_id == DEFAULT_ORGANIZATION_ID)
