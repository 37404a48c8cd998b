"""`python -m migrations upgrade` or `downgrade`: migrates the database SERVEMARK_DATABASE_URL."""

import argparse
import os
import sys

from migrations.runner import SCHEMAS, migrate


def main() -> int:
    """Runs the command line; 0 done, 2 wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m migrations", description=__doc__)
    parser.add_argument("action", choices=("upgrade", "downgrade"))
    parser.add_argument("schemas", nargs="*", metavar="schema", help=f"of {', '.join(SCHEMAS)}")
    arguments = parser.parse_args()
    dsn = os.environ.get("SERVEMARK_DATABASE_URL")
    if not dsn:
        print("SERVEMARK_DATABASE_URL is not set: the database to migrate.", file=sys.stderr)
        return 2
    unknown = set(arguments.schemas) - set(SCHEMAS)
    if unknown:
        parser.error(f"no such schema: {', '.join(sorted(unknown))}")
    migrate(dsn, arguments.schemas or SCHEMAS, "head" if arguments.action == "upgrade" else "base")
    return 0


if __name__ == "__main__":
    sys.exit(main())
