"""Plots of how well trojaned and healthy networks are told apart."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from zoovet.evaluation.metrics import roc_curve
from zoovet.evaluation.report.drawing import COLORS, FONT_SIZE, RIVAL_ROLES, new_figure, style_axes, to_svg

__all__ = ["roc_curves"]

FloatArray = NDArray[np.float64]


def roc_curves(
    name: str,
    labels: NDArray[np.bool_],
    scores: Mapping[str, FloatArray],
    thresholds: Mapping[str, float],
    aucs: Mapping[str, float],
) -> Markup:
    """ROC curves; the first is the detector's, the dots are the thresholds' operating points.

    Args:
        name: Unique on the page.
        labels: [n] bool, trojaned.
        scores: [n] scores by detector.
        thresholds: Threshold by detector.
        aucs: AUC by detector, for the legend.
    """
    figure = new_figure(440, 420)
    axes = figure.add_subplot()
    style_axes(axes, x_label="false-positive rate (healthy networks flagged)", grid="both")
    axes.set_ylabel("true-positive rate (trojaned networks flagged)", color=COLORS["ink"], fontsize=FONT_SIZE)
    axes.plot([0, 1], [0, 1], color=COLORS["muted"], linewidth=0.8, linestyle=(0, (2, 3)))
    for position, (detector, given) in enumerate(scores.items()):
        color = COLORS["detector" if position == 0 else RIVAL_ROLES[(position - 1) % len(RIVAL_ROLES)]]
        curve = roc_curve(given, labels)
        axes.plot(
            curve.false_positive_rates,
            curve.true_positive_rates,
            color=color,
            linewidth=2.2 if position == 0 else 1.4,
            linestyle="-" if position == 0 else (0, (5, 2)),
            label=f"{detector}: AUC {aucs[detector]:.3f}",
            zorder=10 - position,
        )
        flagged = given >= thresholds[detector]
        axes.plot(flagged[~labels].mean(), flagged[labels].mean(), "o", color=color, markersize=6, zorder=12)
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.02)
    axes.set_aspect("equal")
    legend = axes.legend(loc="lower right", frameon=False, fontsize=FONT_SIZE, labelcolor=COLORS["ink"])
    legend.set_zorder(20)
    named = ", ".join(f"{detector} {value:.3f}" for detector, value in aucs.items())
    return to_svg(figure, name, f"ROC curves; AUC: {named}")
