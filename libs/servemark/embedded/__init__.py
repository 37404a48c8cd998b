"""PostgreSQL and Valkey as child processes, for one machine and for the test suite.

Both listen on 127.0.0.1 only, ask for a password, and end when the program that started them ends,
however it ends. A deployment of several machines uses real servers instead and never imports this.
"""

from servemark.embedded.errors import EmbeddedServerError
from servemark.embedded.postgres import EmbeddedPostgres
from servemark.embedded.valkey import EmbeddedValkey

__all__ = ["EmbeddedPostgres", "EmbeddedServerError", "EmbeddedValkey"]
