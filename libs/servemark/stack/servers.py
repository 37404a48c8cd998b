"""PostgreSQL and Valkey: the embedded ones, or real ones named by the environment."""

import os
from dataclasses import dataclass, field

from servemark.embedded.postgres import EmbeddedPostgres
from servemark.embedded.valkey import EmbeddedValkey
from servemark.stack.files import DataDir

# One machine's worth of memory and connections. Locks, because a read over years of results locks
# each day's partition.
POSTGRES_SETTINGS = {
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "wal_compression": "on",
    "max_connections": "100",
    "max_locks_per_transaction": "256",
}


@dataclass
class Servers:
    """The two servers everything stands on. `own` are those we started and keep running."""

    database_url: str = ""
    redis_url: str = ""
    own: list[EmbeddedPostgres | EmbeddedValkey] = field(default_factory=list)

    def start(self, data: DataDir) -> None:
        """Starts what the environment does not name. Raises EmbeddedServerError."""
        self.database_url = os.environ.get("SERVEMARK_DATABASE_URL", "")
        if not self.database_url:
            postgres = EmbeddedPostgres(data.postgres, settings=POSTGRES_SETTINGS)
            postgres.start()
            self.own.append(postgres)
            self.database_url = postgres.dsn()
        self.redis_url = os.environ.get("SERVEMARK_REDIS_URL", "")
        if not self.redis_url:
            valkey = EmbeddedValkey(data.valkey)
            valkey.start()
            self.own.append(valkey)
            self.redis_url = valkey.url()

    def mend(self) -> list[str]:
        """Starts again what has died, on the same port with the same data; says what it did."""
        told = []
        for server in self.own:
            if not server.alive:
                name = "PostgreSQL" if isinstance(server, EmbeddedPostgres) else "Valkey"
                server.stop()
                server.start()
                told.append(f"{name} ended; it is running again (log: {server.log}).")
        return told

    def stop(self) -> None:
        """Stops what `start` started, in reverse order."""
        for server in reversed(self.own):
            server.stop()
