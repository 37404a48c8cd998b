import subprocess
import sys

_PROBE = """
import sys
from servemark.cli.__main__ import main
try:
    main(["--help"])
except SystemExit:
    pass
heavy = {"numpy", "sqlalchemy", "asyncpg", "redis", "pydantic", "structlog"}
heavy |= {"services", "migrations"}
sys.exit(", ".join(sorted(heavy & set(sys.modules))) or 0)
"""


def test_the_command_loads_no_package_of_the_server() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PROBE], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
