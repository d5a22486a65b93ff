"""Distributions over a zoo's networks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from markupsafe import Markup
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from zoovet.evaluation.report.drawing import COLORS, FONT_SIZE, legend_above, new_figure, style_axes, to_svg

__all__ = ["histogram"]

FloatArray = NDArray[np.float64]


def histogram(
    name: str,
    groups: Mapping[str, FloatArray],
    *,
    x_label: str,
    limits: tuple[float, float] = (0.0, 1.0),
    num_bins: int = 25,
    threshold: float | None = None,
    roles: Mapping[str, str] | None = None,
    size: tuple[int, int] = (470, 235),
) -> Markup:
    """Overlaid histograms, one a group of networks.

    Args:
        name: Unique on the page.
        groups: Values by the name of a group; a group may be empty or missing.
        x_label: What the values are.
        limits: Least and greatest value; values beyond count in the outermost bins.
        num_bins: Number of bins.
        threshold: Where to draw a dashed line, if anywhere.
        roles: Colour of each group, one of the roles of ``drawing.COLORS``; its own name where left out.
        size: Width and height in CSS pixels.
    """
    figure = new_figure(*size)
    axes = figure.add_subplot()
    style_axes(axes, x_label=x_label, y_label="networks")
    edges = np.linspace(*limits, num_bins + 1).tolist()
    for group, values in groups.items():
        inside = np.clip(values[~np.isnan(values)], *limits)
        color = COLORS[group if roles is None else roles[group]]
        axes.hist(inside, edges, histtype="stepfilled", facecolor=color, alpha=0.3, label=f"{group} ({len(inside)})")
        axes.hist(inside, edges, histtype="step", edgecolor=color, linewidth=1.3)
    if threshold is not None:
        axes.axvline(float(np.clip(threshold, *limits)), color=COLORS["ink"], linestyle=(0, (4, 3)), linewidth=1)
        axes.annotate(
            f"threshold {threshold:.3g}",
            (float(np.clip(threshold, *limits)), 0.98),
            xycoords=("data", "axes fraction"),
            xytext=(4, 0),
            textcoords="offset points",
            va="top",
            fontsize=FONT_SIZE - 1,
            color=COLORS["ink"],
        )
    axes.set_xlim(*limits)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
    legend_above(axes)
    counts = ", ".join(f"{len(values)} {group}" for group, values in groups.items())
    return to_svg(figure, name, f"Histogram of {x_label}: {counts} networks")
