"""Plots of how well networks are told apart by class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgba
from numpy.typing import NDArray

from zoovet.evaluation.report.drawing import (
    COLORS,
    FONT_SIZE,
    RIVAL_ROLES,
    new_figure,
    style_axes,
    to_svg,
)

__all__ = ["class_accuracies", "confusion_matrix"]

_MOST_NUMBERS = 12
"""Classes up to which the cells of a confusion matrix have room for their numbers."""


_LONGEST_UPRIGHT = 3
"""Characters of a class name that have room under a column."""


def confusion_matrix(name: str, counts: NDArray[np.int64], class_names: Sequence[str]) -> Markup:
    """Share of each class that is taken for each class: the fuller a cell, the larger the share of its row.

    Args:
        name: Unique on the page.
        counts: [C, C] networks by true class (row) and predicted class (column).
        class_names: [C] names.
    """
    num_classes = len(class_names)
    figure = new_figure(470, 425)
    axes = figure.add_subplot()
    style_axes(axes, x_label="predicted class", y_label="true class", grid=None)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    rows, columns = np.indices(counts.shape).reshape(2, -1)
    corners = np.stack([columns, rows], axis=1)[:, None] + 0.47 * np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
    colors = [
        to_rgba(COLORS["healthy" if row == column else "trojaned"], 0.85 * shares[row, column])
        for row, column in zip(rows, columns, strict=True)
    ]
    axes.add_collection(PolyCollection(list(corners), facecolors=colors, edgecolors="none"))
    if num_classes <= _MOST_NUMBERS:
        for row, column in zip(*np.nonzero(counts), strict=True):
            axes.text(
                column,
                row,
                str(counts[row, column]),
                ha="center",
                va="center",
                fontsize=FONT_SIZE - 1.5,
                color=COLORS["ink"],
            )
    axes.set_xlim(-0.5, num_classes - 0.5)
    axes.set_ylim(num_classes - 0.5, -0.5)
    axes.set_xticks(range(num_classes), class_names, parse_math=False)
    if max(map(len, class_names)) > _LONGEST_UPRIGHT:
        axes.set_xticks(range(num_classes), class_names, rotation=40, ha="right", parse_math=False)
    axes.set_yticks(range(num_classes), class_names, parse_math=False)
    axes.tick_params(length=0)
    right = int(np.trace(counts))
    return to_svg(figure, name, f"Confusion matrix of {num_classes} classes: {right} of {int(counts.sum())} right")


def class_accuracies(name: str, class_names: Sequence[str], accuracies: Mapping[str, Sequence[float | None]]) -> Markup:
    """Accuracy on each class, one dot a model.

    Args:
        name: Unique on the page.
        class_names: [C] names.
        accuracies: [C] shares of a class's networks told rightly, by the name of a model, the first one in front;
            ``None`` where the class has no networks.
    """
    figure = new_figure(640, 100 + 26 * len(class_names))
    axes = figure.add_subplot()
    style_axes(axes, x_label="accuracy on networks of the class", grid="x")
    for place, (model, values) in enumerate(accuracies.items()):
        role = "detector" if place == 0 else RIVAL_ROLES[(place - 1) % len(RIVAL_ROLES)]
        shown = [(value, label) for label, value in enumerate(values) if value is not None]
        axes.plot(
            [value for value, _ in shown],
            [label for _, label in shown],
            "o" if place == 0 else "D",
            color=COLORS[role],
            markersize=7 if place == 0 else 5,
            markeredgewidth=0,
            label=model,
            zorder=10 - place,
        )
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(len(class_names) - 0.5, -0.5)
    axes.set_yticks(range(len(class_names)), class_names, parse_math=False)
    axes.tick_params(axis="y", length=0)
    figure.legend(
        loc="outside upper left",
        ncols=2,
        frameon=False,
        fontsize=FONT_SIZE,
        labelcolor=COLORS["ink"],
        handlelength=1.2,
    )
    return to_svg(figure, name, f"Accuracy by class of {', '.join(accuracies)}")
