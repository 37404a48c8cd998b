"""What one key may use: the limits everyone has, and those a key has instead."""

from dataclasses import asdict, dataclass, replace


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """Limits that hold for a key. Days are UTC days; rows are those sent to be stored."""

    calls_per_second: float
    rows_per_second: float
    concurrent_calls: int
    concurrent_streams: int
    calls_per_day: int
    rows_per_day: int


@dataclass(frozen=True, slots=True)
class OwnLimits:
    """The limits a key has of its own, each above 0; None: the one from the settings."""

    calls_per_second: float | None = None
    rows_per_second: float | None = None
    concurrent_calls: int | None = None
    concurrent_streams: int | None = None
    calls_per_day: int | None = None
    rows_per_day: int | None = None

    @property
    def given(self) -> dict[str, float]:
        """Those that the key has, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def instead_of(self, limits: KeyLimits) -> KeyLimits:
        """`limits` with the own ones in their places."""
        return replace(limits, **self.given)  # type: ignore[arg-type]


NO_OWN_LIMITS = OwnLimits()
