"""`python -m services.gateway.bootstrap --name … --scopes …`: a key straight into the database.

For the first key, and for whoever lost the last. Prints the key on stdout and nothing else there;
needs SERVEMARK_DATABASE_URL and SERVEMARK_KEY_PEPPER, the same as the gateway's.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from servemark.runtime.database import Database, translate_database_error
from servemark.runtime.settings import load
from services.gateway.convert import MAX_NAME_LENGTH
from services.gateway.grants import SCOPES
from services.gateway.keys import create_key_row
from services.gateway.settings import GatewaySettings
from services.gateway.store import KeyStore
from services.gateway.tables import DEFAULT_ORGANIZATION_ID

ACTOR = "bootstrap"


def _scopes(text: str) -> tuple[str, ...]:
    scopes = tuple(dict.fromkeys(part.strip().upper() for part in text.split(",")))
    unknown = [scope for scope in scopes if scope not in SCOPES]
    if unknown:
        raise argparse.ArgumentTypeError(
            f"{', '.join(unknown) or 'nothing'} is not a scope; scopes are {', '.join(SCOPES)}"
        )
    return scopes


def _name(text: str) -> str:
    name = text.strip()
    if not 1 <= len(name) <= MAX_NAME_LENGTH or not name.isprintable():
        raise argparse.ArgumentTypeError(f"needs 1 to {MAX_NAME_LENGTH} printable characters")
    return name


def _days(text: str) -> timedelta:
    try:
        days = float(text)
    except ValueError:
        days = 0.0
    if not 0 < days <= 36_500:
        raise argparse.ArgumentTypeError("needs a number of days above 0")
    return timedelta(days=days)


async def create_key(
    settings: GatewaySettings, name: str, scopes: Sequence[str], lifetime: timedelta | None
) -> str:
    """Stores a key of the default organization and returns its text."""
    database = Database(settings.database_url.get_secret_value(), "gateway", pool_size=1)
    try:
        _, text = await create_key_row(
            KeyStore(database),
            settings.key_pepper.get_secret_value(),
            organization_id=DEFAULT_ORGANIZATION_ID,
            name=name,
            scopes=scopes,
            expires_at=None if lifetime is None else datetime.now(UTC) + lifetime,
            created_by=ACTOR,
        )
    finally:
        await database.close()
    return text


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line: 0 done, 1 the database does not answer, 2 wrong usage or settings."""
    parser = argparse.ArgumentParser(
        prog="python -m services.gateway.bootstrap",
        description="Creates an API key in the database and prints it, this once.",
    )
    parser.add_argument("--name", type=_name, required=True, help="what the key is for")
    parser.add_argument(
        "--scopes", type=_scopes, required=True, help=f"some of {','.join(SCOPES)}, comma-separated"
    )
    parser.add_argument(
        "--days", type=_days, default=None, help="when it stops working (default: never)"
    )
    wish = parser.parse_args(arguments)
    settings = load(GatewaySettings)
    try:
        print(asyncio.run(create_key(settings, wish.name, wish.scopes, wish.days)))
    except Exception as error:
        known = translate_database_error(error)
        if known is None:
            raise
        print(known.message, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
