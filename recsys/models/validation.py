"""Checks of constructor arguments: errors name the argument, its value and the allowed range."""

from __future__ import annotations

from recsys.data.errors import did_you_mean

INFINITY = float("inf")


def check_range(
    name: str,
    value: float,
    low: float,
    high: float = INFINITY,
    *,
    open_low: bool = False,
    open_high: bool = False,
) -> None:
    """Raise a ValueError unless `value` is a finite number from `low` to `high`, open ends excluded."""
    if isinstance(value, int | float):
        above = value > low if open_low else value >= low
        below = value < high if open_high or high == INFINITY else value <= high
        if above and below:
            return
    if high == INFINITY:
        allowed = f"{'>' if open_low else '>='} {low}"
    else:
        allowed = f"in {'(' if open_low else '['}{low}, {high}{')' if open_high else ']'}"
    raise ValueError(f"{name} must be {allowed}, got {value}")


def check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """Raise a ValueError unless `value` is one of `allowed`."""
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}{did_you_mean(value, allowed)}")
