"""The fixtures every test may ask for; how they work is in tests/support."""

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from hypothesis import settings

from migrations.runner import migrate_async
from tests.support import servers
from tests.support.stack import RunningStack, running_stack

# No example is held to a time: on a busy machine any may take long.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# What a shell starts in the background ignores an interrupt, and so does what it starts. Tests that
# interrupt a program are about the program.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Runs the modules marked `every_profile` on TimescaleDB too, where a server of it is named."""
    if (
        "storage_server" in metafunc.fixturenames
        and metafunc.definition.get_closest_marker("every_profile")
        and servers.timescale_dsn()
    ):
        profiles = ["native", pytest.param("timescaledb", marks=pytest.mark.timescale)]
        metafunc.parametrize("storage_server", profiles, indirect=True, scope="session")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The DSN of a superuser on the run's PostgreSQL. Make no tables here: see fresh_database."""
    with servers.running_postgres() as dsn:
        yield dsn


@pytest.fixture(scope="session")
def timescale_server() -> str:
    """The DSN of a superuser on a server with TimescaleDB. Make no tables here."""
    dsn = servers.timescale_dsn()
    if not dsn:
        pytest.skip("SERVEMARK_TEST_TIMESCALE_DSN names no server with TimescaleDB")
    return dsn


@pytest.fixture(scope="session")
def storage_server(request: pytest.FixtureRequest) -> str:
    """The DSN of a superuser on the server whose storage profile is tested; see every_profile."""
    profile = getattr(request, "param", "native")
    server = "postgres_server" if profile == "native" else "timescale_server"
    return str(request.getfixturevalue(server))


@pytest.fixture
def fresh_database(storage_server: str) -> Iterator[str]:
    """The DSN of an empty database of this test's own."""
    with servers.database(storage_server) as dsn:
        yield dsn


@pytest.fixture(scope="module")
def new_database(storage_server: str) -> Iterator[Callable[..., str]]:
    """Makes databases that last for the module: ``new_database(template="…")`` returns a DSN."""
    with ExitStack() as databases:

        def make(template: str = "template0") -> str:
            return databases.enter_context(servers.database(storage_server, template))

        yield make


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[str]:
    """The URL of the run's Valkey, whatever is in it."""
    with servers.running_valkey() as url:
        yield url


@pytest.fixture
def valkey(valkey_server: str) -> str:
    """The URL of the run's Valkey, emptied before the test."""
    servers.flush(valkey_server)
    return valkey_server


@pytest.fixture(scope="session")
def migrated_template(storage_server: str) -> Iterator[str]:
    """Name of a database with every schema at its newest revision, for copying; nobody connects."""
    with servers.database(storage_server) as dsn:
        servers.run_apart(migrate_async(dsn))
        servers.close_to_connections(dsn)
        yield servers.database_name(dsn)


@pytest.fixture
def migrated_database(storage_server: str, migrated_template: str) -> Iterator[str]:
    """The DSN of a migrated, empty database of this test's own."""
    with servers.database(storage_server, migrated_template) as dsn:
        yield dsn


@pytest.fixture(scope="module")
def module_database(new_database: Callable[..., str], migrated_template: str) -> str:
    """The DSN of a migrated database that the tests of a module share."""
    return new_database(migrated_template)


@pytest.fixture(scope="module")
def stack(module_database: str, valkey_server: str) -> Iterator[RunningStack]:
    """The four services as processes on the module's own database, with nothing in it."""
    servers.flush(valkey_server)
    with running_stack(module_database, valkey_server) as running:
        yield running
