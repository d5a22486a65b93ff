"""Plots of one number of every network against another."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from zoovet.evaluation.report.drawing import (
    COLORS,
    FONT_SIZE,
    legend_above,
    logarithmic,
    new_figure,
    style_axes,
    to_svg,
)

__all__ = ["MOST_DOTS", "against"]

MOST_DOTS = 2000
"""Networks drawn at most, evenly through those there are: a page must stay small."""

_ROLES = ("healthy", "rival", "rival_2", "rival_3", "detector")


def against(
    name: str,
    groups: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]],
    *,
    x_label: str,
    y_label: str,
    limits: tuple[float, float],
    title: str = "",
    on_logarithms: bool = False,
) -> Markup:
    """Dots on square axes with a line where both numbers are the same.

    Args:
        name: Unique on the page.
        groups: Numbers [n] along x and along y by the name of a group; at most :data:`MOST_DOTS` are drawn.
        x_label: What lies along x.
        y_label: What lies along y.
        limits: Least and greatest number on both axes; dots beyond lie on the border.
        title: Over the axes, where there is one group.
        on_logarithms: Whether the axes are logarithmic.
    """
    figure = new_figure(420, 420)
    axes = figure.add_subplot()
    style_axes(axes, x_label=x_label, y_label=y_label, grid="both")
    total = sum(len(x) for x, _ in groups.values())
    step = max(1, -(-total // MOST_DOTS))
    for place, (group, (x, y)) in enumerate(groups.items()):
        axes.plot(
            np.clip(x[::step], *limits),
            np.clip(y[::step], *limits),
            "o",
            color=COLORS[_ROLES[place % len(_ROLES)]],
            markersize=3.5,
            markeredgewidth=0,
            alpha=0.55,
            label=f"{group} ({len(x)})",
            clip_on=False,
        )
    axes.plot(limits, limits, color=COLORS["muted"], linewidth=1, linestyle=(0, (4, 3)))
    if on_logarithms:
        logarithmic(axes, "x")
        logarithmic(axes, "y")
    axes.set_xlim(*limits)
    axes.set_ylim(*limits)
    axes.set_aspect("equal")
    if len(groups) > 1:
        legend_above(axes)
    elif title:
        axes.set_title(title, fontsize=FONT_SIZE + 0.5, color=COLORS["ink"], loc="left", parse_math=False)
    return to_svg(figure, name, f"{y_label} against {x_label} of {total} networks{f', {title}' if title else ''}")
