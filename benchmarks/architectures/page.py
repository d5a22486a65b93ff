"""The page of the table, from its rows alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["page"]

Row = Mapping[str, Any]
WAYS = {"module": "module", "onnx": "ONNX", "state_dict": "state dict"}
REASONS = {
    "matmul": "Products of two computed matrices, as attention written by hand: what is done to the channels of one "
    "would have to be undone by the other, and no law says so yet.",
    "scaled_dot_product_attention": "Attention: likewise, of queries with keys, and of what stands in one head.",
    "reshape": "Channels cut into heads or windows, or positions joined with channels: they stay where they are.",
    "linear": "A linear layer along another axis than the channels', as on positions or on what a head has cut.",
    "conv2d": "A convolution on what was cut so.",
    "slice": "Queries, keys and values cut out of one axis that is no axis of known channels.",
    "add": "A sum, as of a map and a table of positions, whose parts have their channels along different axes.",
    "mul": "A product whose parts have their channels along different axes.",
    "div": "A quotient whose parts have their channels along different axes.",
    "cat": "Sites joined whose channels are not known.",
    "pad": "Padding of what was cut so.",
    "roll": "Numbers moved along the axis of channels.",
    "mean": "A mean over an axis of which nothing is known.",
}
"""Operation → why its law leaves channels where they are."""


def page(rows: Mapping[str, Row]) -> str:
    """The page as Markdown."""
    listed = list(rows.items())
    read = {way: sum("deviation" in row.get("read", {}).get(way, {}) for _, row in listed) for way in WAYS}
    moved = [row["symmetry"]["deviation"] for _, row in listed if "symmetry" in row]
    exact = [row["scalegmn"]["deviation"] for _, row in listed if "deviation" in row.get("scalegmn", {})]
    return (
        Path(__file__)
        .with_name("page.md")
        .read_text(encoding="utf-8")
        .format(
            **read,
            count=len(listed),
            deviation=_size(max(deviation for _, row in listed for deviation in _deviations(row))),
            rounding=_size(max(row.get("own_rounding", 0.0) for _, row in listed)),
            num_moved=len(moved),
            moved=_size(max(moved, default=0.0)),
            num_exact=len(exact),
            exact=_size(max(exact, default=0.0)),
            read=_table(_READ_HEADER, [_read_line(name, row) for name, row in listed]),
            symmetries=_table(_MOVED_HEADER, [_moved_line(row) for _, row in listed]),
            reasons=_reasons(listed),
            costs=_table(_COST_HEADER, [_cost_line(row) for _, row in listed]),
        )
    )


_READ_HEADER = ("architecture", "`--architecture`", "images", "parameters", *WAYS.values(), "own rounding")
_MOVED_HEADER = ("architecture", "channels", "permuted", "scaled", "fixed", "fixed by", "function", "ScaleGMN")
_COST_HEADER = (
    "architecture",
    "read: module",
    "ONNX",
    "state dict",
    "run",
    "edges",
    "width, rounds",
    "ScaleGMN",
)


def _table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [header, ["---"] * len(header), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def _read_line(name: str, row: Row) -> list[str]:
    shape = "×".join(map(str, row.get("shape", ())))
    ways = [_way(row, way) for way in WAYS]
    return [_title(row), f"`{name}`", shape, f"{row.get('parameters', 0):,}", *ways, _size(row.get("own_rounding"))]


def _title(row: Row) -> str:
    return str(row.get("title", "?"))


def _way(row: Row, way: str) -> str:
    found = row.get("read", {}).get(way)
    if found is None:
        return _unfinished(row)
    if "refused" in found:
        return f"refused: {found['refused']}".replace("|", "\\|")
    if "deviation" not in found:
        return f"run only: {found.get('beyond', row.get('beyond', ''))}".replace("|", "\\|")
    return _size(found["deviation"])


def _unfinished(row: Row) -> str:
    return f"not measured: {row.get('ended', 'stopped')}"


def _moved_line(row: Row) -> list[str]:
    found = row.get("symmetry")
    if found is None:
        return [_title(row), *["–"] * 6, "run only" if "beyond" in row else _unfinished(row)]
    channels = found["channels"]
    shares = [f"{found[kind] / channels:.0%}" if channels else "–" for kind in ("permuted", "scaled", "fixed")]
    by = ", ".join(name.removesuffix(" (no law)") for name in found["fixed_by"])
    return [_title(row), f"{channels:,}", *shares, by or "–", _size(found["deviation"]), _scalegmn(row)]


def _scalegmn(row: Row) -> str:
    found = row.get("scalegmn", {})
    if "deviation" not in found:
        return _unfinished(row)
    word = "exact" if found["deviation"] <= 1e-10 else "**not exact**"
    settings = found["exact_settings"]
    smaller = "" if settings["num_layers"] == 4 else f" (width {settings['width']}, rounds: {settings['num_layers']})"
    return f"{word}, {_size(found['deviation'])}{smaller}"


def _cost_line(row: Row) -> list[str]:
    read = [_cost(row.get("read", {}).get(way, {})) for way in WAYS]
    run, own = row.get("run"), row.get("module")
    ratio = f" ({run['seconds'] / own['seconds']:.1f}×)" if run and own and own["seconds"] >= 0.002 else ""
    found = row.get("scalegmn", {})
    settings = found.get("settings", {})
    said = f"{settings['width']}, {settings['num_layers']}" if settings else "–"
    edges = f"{found['edges']:,}" if "edges" in found else "–"
    return [_title(row), *read, _cost(run) + ratio, edges, said, _cost(found.get("cost"))]


def _cost(found: Row | None) -> str:
    if not found or "seconds" not in found:
        return "–"
    return f"{found['seconds']:.2g} s, {found['gb']:.2g} GB"


def _reasons(listed: Sequence[tuple[str, Row]]) -> str:
    found = {name for _, row in listed for name in row.get("symmetry", {}).get("fixed_by", ())}
    names = sorted(name.removesuffix(" (no law)") for name in found)
    return "\n".join(f"- `{name}`: {REASONS.get(name, 'its channels are not known there.')}" for name in names)


def _deviations(row: Row) -> list[float]:
    return [found["deviation"] for found in row.get("read", {}).values() if "deviation" in found]


def _size(value: float | None) -> str:
    return "–" if value is None else "0" if value == 0 else f"{value:.0e}"
