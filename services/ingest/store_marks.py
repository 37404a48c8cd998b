"""SQL about all marks of what has to be calculated anew."""

from datetime import datetime

from sqlalchemy import func, select

from servemark.runtime.database import Database
from services.ingest.tables import dirty_configs, dirty_days


class MarkStore:
    """Looks at the marks that batches leave for the roll-ups."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def newest(self) -> datetime | None:
        """When the newest mark was made; None where there is none."""
        query = select(
            func.greatest(
                *(
                    select(func.max(marks.c.created_at)).scalar_subquery()
                    for marks in (dirty_days, dirty_configs)
                )
            )
        )
        async with self._database.transaction() as connection:
            newest: datetime | None = (await connection.execute(query)).scalar_one()
        return newest
