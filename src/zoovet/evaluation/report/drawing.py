"""Matplotlib figures as inline SVG that follows the page's light or dark theme.

Figures are drawn in marker colours, one a role, and the SVG text then refers to the page's CSS variables instead. Text
stays text, in the page's font.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import matplotlib
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

__all__ = [
    "COLORS",
    "FONT_SIZE",
    "RIVAL_ROLES",
    "default_settings",
    "legend_above",
    "logarithmic",
    "new_figure",
    "style_axes",
    "to_svg",
]

COLORS = {
    "ink": "#010203",
    "muted": "#010204",
    "grid": "#010205",
    "healthy": "#010206",
    "trojaned": "#010207",
    "detector": "#010208",
    "rival": "#010209",
    "rival_2": "#01020a",
    "rival_3": "#01020b",
}
"""Marker colour of each role; ``healthy`` becomes ``var(--healthy)``, and so on."""

RIVAL_ROLES = ("rival", "rival_2", "rival_3")
"""Colours of what the first of several is compared with, in order."""

FONT_SIZE = 9.5
_NO_LOOKS = ("backend", "backend_fallback", "interactive", "toolbar")
"""Settings of windows, which a program that imports this may have made."""

_DOTS_PER_POINT = 4 / 3
_DROPPED = re.compile(
    r"<\?xml.*?\?>|<!DOCTYPE.*?>|<metadata>.*?</metadata>|<style.*?</style>|\sxmlns(:\w+)?=\"[^\"]*\"|<!--.*?-->", re.S
)
_IDENTIFIERS = re.compile(r"(\bid=\"|url\(#|href=\"#)")


@contextmanager
def default_settings() -> Iterator[None]:
    """Matplotlib's own settings inside the block, or in a function that this decorates.

    A ``matplotlibrc`` (of the user, of the working folder) or a style then changes no plot, nor has it LaTeX run.
    """
    settings = {key: value for key, value in matplotlib.rcParamsDefault.items() if key not in _NO_LOOKS}
    with matplotlib.rc_context(settings):
        yield


def new_figure(width: int, height: int) -> Figure:
    """An empty transparent figure of a size in CSS pixels."""
    figure = Figure(figsize=(width / _DOTS_PER_POINT / 72, height / _DOTS_PER_POINT / 72), layout="constrained")
    figure.patch.set_visible(False)
    return figure


def style_axes(
    axes: Axes, *, x_label: str = "", y_label: str = "", grid: Literal["x", "y", "both"] | None = "y"
) -> None:
    """Quiet axes: no frame at the top and right, thin grid lines below the data, small text.

    Args:
        axes: What to style.
        x_label: Label under the axes.
        y_label: Label left of the axes.
        grid: Which axis has grid lines: ``x``, ``y``, ``both`` or ``None``.
    """
    axes.set_facecolor("none")
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(COLORS["grid"])
    axes.tick_params(color=COLORS["grid"], labelcolor=COLORS["muted"], labelsize=FONT_SIZE, length=3)
    axes.set_xlabel(x_label, color=COLORS["ink"], fontsize=FONT_SIZE)
    axes.set_ylabel(y_label, color=COLORS["ink"], fontsize=FONT_SIZE)
    if grid is not None:
        axes.grid(True, axis=grid, color=COLORS["grid"], linewidth=0.6)


def legend_above(axes: Axes, num_columns: int = 3) -> None:
    """A legend over the axes, of fewer columns where names are long."""
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=num_columns,
        frameon=False,
        fontsize=FONT_SIZE,
        labelcolor=COLORS["ink"],
        handlelength=1.2,
        borderaxespad=0.2,
    )


def logarithmic(axes: Axes, which: Literal["x", "y"]) -> None:
    """Logarithmic scale with few, plain numbers: 0.01, 0.02, 0.05."""
    axes.set(**{f"{which}scale": "log"})
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def to_svg(figure: Figure, name: str, description: str) -> Markup:
    """A figure as an ``<svg>`` element for an HTML page.

    Args:
        figure: Drawn in :data:`COLORS`.
        name: Unique on the page: prefix of the identifiers inside.
        description: What it shows, for readers who cannot see it.

    Returns:
        Markup without fixed size, without references to anything outside, the same for the same figure.
    """
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = _DROPPED.sub("", buffer.getvalue()).strip()
    text = _IDENTIFIERS.sub(lambda match: f"{match.group(1)}{name}-", text)
    for role, color in COLORS.items():
        text = text.replace(color, f"var(--{role.replace('_', '-')})")
    opening, rest = text.split(">", 1)
    view_box = re.search(r'viewBox="[^"]*"', opening)
    assert view_box is not None, "matplotlib's SVG has a viewBox"
    width = round(float(view_box.group(0).split()[2]) * _DOTS_PER_POINT)
    label = escape(description)
    return Markup(f'<svg {view_box.group(0)} role="img" aria-label="{label}" style="width: {width}px">{rest}')
