"""Plots of what repair does to networks and to their weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import to_rgba
from matplotlib.ticker import MaxNLocator
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

__all__ = ["before_after", "channel_map", "edits_by_layer"]

FloatArray = NDArray[np.float64]


def before_after(
    name: str, before: FloatArray, after: FloatArray, *, y_label: str, role: str, limits: tuple[float, float]
) -> Markup:
    """Every network as a line from its figure before (ring) to its figure after (dot), ordered by the figure before.

    Args:
        name: Unique on the page.
        before: [n] figures before repair.
        after: [n] figures after repair.
        y_label: What the figures are.
        role: ``healthy`` or ``trojaned``: the colour of the dots.
        limits: Least and greatest value shown.
    """
    figure = new_figure(960, 250)
    axes = figure.add_subplot()
    style_axes(axes, x_label=f"{len(before)} networks, ordered by their value before repair", y_label=y_label)
    order = np.lexsort((after, before))
    positions = np.arange(len(order))
    ends = np.stack([before[order], after[order]], axis=1)
    segments = np.stack([np.stack([positions, positions], axis=1), ends], axis=2)
    size = float(np.clip(900 / max(1, len(order)), 1.5, 5.0))
    axes.add_collection(
        LineCollection(list(segments), colors=COLORS["muted"], linewidths=min(1.2, size / 3), alpha=0.55)
    )
    axes.plot(
        positions,
        ends[:, 0],
        "o",
        markerfacecolor="none",
        markeredgecolor=COLORS["ink"],
        markersize=size,
        label="before",
    )
    axes.plot(positions, ends[:, 1], "o", color=COLORS[role], markeredgewidth=0, markersize=size, label="after")
    for values, color in ((before, COLORS["ink"]), (after, COLORS[role])):
        axes.axhline(float(values.mean()), color=color, linewidth=1, linestyle=(0, (4, 3)))
    axes.set_xlim(-1, len(order))
    axes.set_ylim(*limits)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=10, steps=[1, 2, 5, 10], integer=True))
    legend_above(axes)
    return to_svg(
        figure,
        name,
        f"{y_label} of {len(before)} networks: mean {before.mean():.3f} before and {after.mean():.3f} after repair",
    )


def edits_by_layer(name: str, layers: Sequence[str], changes: FloatArray, poisoned: NDArray[np.bool_]) -> Markup:
    """Relative change of each layer, a dot a network, with the median as a bar; trojaned beside healthy.

    Args:
        name: Unique on the page.
        layers: [L] names.
        changes: [n, L] relative changes; NaN where a network has no such layer. On a logarithmic axis, so that exact
            zeros are left out.
        poisoned: [n] bool.
    """
    figure = new_figure(570, 290)
    axes = figure.add_subplot()
    style_axes(axes, y_label="change ÷ layer's norm")
    generator = np.random.default_rng(0)  # spreads the dots sideways, nothing else
    for role, mask, shift in (("healthy", ~poisoned, -0.2), ("trojaned", poisoned, 0.2)):
        axes.plot([], [], "o", color=COLORS[role], markersize=5, label=f"{role} ({int(mask.sum())})")
        for layer in range(len(layers)):
            values = changes[mask, layer]
            values = values[np.isfinite(values) & (values > 0)]
            spread = generator.uniform(-0.12, 0.12, size=len(values))
            axes.plot(
                layer + shift + spread,
                values,
                "o",
                color=COLORS[role],
                markersize=3,
                markeredgewidth=0,
                alpha=0.45,
            )
            if len(values):
                middle = float(np.median(values))
                axes.plot([layer + shift - 0.16, layer + shift + 0.16], [middle] * 2, color=COLORS["ink"], linewidth=2)
    logarithmic(axes, "y")
    axes.set_xticks(range(len(layers)), layers)
    axes.tick_params(axis="x", length=0)
    axes.set_xlim(-0.5, len(layers) - 0.5)
    legend_above(axes)
    return to_svg(figure, name, f"Relative change of each layer by repair: {', '.join(layers)}")


def channel_map(name: str, networks: Sequence[str], layers: Sequence[str], changes: Sequence[FloatArray]) -> Markup:
    """Which output channels of the most edited networks were changed: the fuller a cell, the larger the change.

    The largest change of all is drawn in full.

    Args:
        name: Unique on the page.
        networks: [m] names, one a row.
        layers: [L] names.
        changes: L arrays [m, C] of relative changes; NaN leaves a cell empty.
    """
    figure = new_figure(960, 70 + 24 * len(networks))
    panels: Any = figure.subplots(
        1, len(layers), sharey=True, squeeze=False, width_ratios=[change.shape[1] for change in changes]
    )[0]
    largest = max(float(np.nanmax(change, initial=0.0)) for change in changes) or 1.0
    for axes, layer, change in zip(panels, layers, changes, strict=True):
        style_axes(axes, grid=None)
        rows, columns = np.nonzero(~np.isnan(change))
        corners = np.stack([columns, rows], axis=1)[:, None] + 0.45 * np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
        colors = [to_rgba(COLORS["trojaned"], change[cell] / largest) for cell in zip(rows, columns, strict=True)]
        axes.add_collection(PolyCollection(list(corners), facecolors=colors, edgecolors="none"))
        axes.set_xlim(-0.5, change.shape[1] - 0.5)
        axes.set_ylim(len(networks) - 0.5, -0.5)
        axes.set_title(layer, fontsize=FONT_SIZE, color=COLORS["ink"])
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 5, 10], integer=True))
        axes.tick_params(axis="y", length=0)
        axes.set_yticks(range(len(networks)), networks, parse_math=False)
    figure.supxlabel("output channel", fontsize=FONT_SIZE, color=COLORS["ink"])
    return to_svg(
        figure, name, f"Changes by channel of the {len(networks)} most edited networks; the largest is {largest:.2g}"
    )
