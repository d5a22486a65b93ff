"""How the report writes numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["FILTERS"]


def _number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}".replace("-", "−")


def _error(value: float | None) -> str:
    """Three significant digits: ``0.0123``, and ``1.23e−6`` where that is shorter."""
    return "–" if value is None else f"{value:#.3g}".replace("-", "−")


def _error_interval(bounds: Sequence[float] | None) -> str:
    return "" if bounds is None else " – ".join(map(_error, bounds))


def _thousands(count: int | None) -> str:
    return "–" if count is None else f"{count:,}"


def _signed(value: float | None, digits: int = 3) -> str:
    """``+0.012``, ``−0.012``, and ``0.000`` without a sign where it rounds to zero."""
    if value is None:
        return "–"
    rounded = round(value, digits) or 0.0
    return (f"{rounded:+.{digits}f}" if rounded else f"{rounded:.{digits}f}").replace("-", "−")


def _interval(bounds: Sequence[float] | None, digits: int = 3) -> str:
    """``0.951 – 0.987``; a minus sign where it belongs."""
    return "" if bounds is None else " – ".join(f"{bound:.{digits}f}".replace("-", "−") for bound in bounds)


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def _duration(seconds: float | None) -> str:
    """``42 s``, ``7 min 5 s``, ``2 h 3 min``."""
    if seconds is None:
        return "–"
    if seconds < 1:
        return f"{1000 * seconds:.3g} ms"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


FILTERS: dict[str, Callable[..., Any]] = {
    "number": _number,
    "error": _error,
    "error_interval": _error_interval,
    "thousands": _thousands,
    "interval": _interval,
    "percent": _percent,
    "duration": _duration,
    "signed": _signed,
}
"""Filters of the templates by their names."""
