"""Sizes, counts and days as people read and write them."""

from datetime import date, timedelta

from servemark.cli.output import CliError

_UNITS = ("B", "kB", "MB", "GB", "TB")


def size_text(byte_size: int) -> str:
    """A number of bytes with three digits: 512 B, 1.23 MB."""
    value, unit = float(byte_size), 0
    while value >= 999.5 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    if unit == 0:
        return f"{byte_size} B"
    decimals = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{decimals}f} {_UNITS[unit]}"


def counted(count: int, noun: str) -> str:
    """A number of things: 1 day, 1,234 rows."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def parse_day(option: str, text: str) -> date:
    """The day that was typed. Raises CliError."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise CliError(f"{option} takes a day such as 2025-09-14, not {text!r}.") from None


def days_between(first: str, last: str) -> tuple[str, str]:
    """First day and first day after, as the contract wants them, of two days that both count.

    An empty `first` is no beginning; an empty `last` is the first day alone, or no end. Raises
    CliError.
    """
    start = parse_day("DAY", first) if first else None
    end = parse_day("--to", last) if last else start
    if start and end and end < start:
        raise CliError(f"--to {end} is before {start}.")
    return str(start or ""), str(end + timedelta(days=1) if end else "")
