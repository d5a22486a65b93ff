"""A benchmark's plots: AUC against training bases, AUC by family seen and left out, repair at a glance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from zoovet.benchmark.figures import Figure
from zoovet.evaluation.report.drawing import (
    COLORS,
    FONT_SIZE,
    RIVAL_ROLES,
    legend_above,
    new_figure,
    style_axes,
    to_svg,
)

__all__ = ["dots_by_group", "lines_by_size", "repair_points"]

_STYLES: tuple[object, ...] = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 2, 1, 2)))
_MARKERS = ("o", "s", "^", "D")


def _look(position: int) -> tuple[str, object, str]:
    """Colour, line style and marker of the first, second, … of several; the first is ours, no two look alike."""
    if position == 0:
        return COLORS["detector"], "-", "o"
    turn, role = divmod(position - 1, len(RIVAL_ROLES))
    return COLORS[RIVAL_ROLES[role]], _STYLES[turn % len(_STYLES)], _MARKERS[turn % len(_MARKERS)]


def lines_by_size(name: str, curves: Mapping[str, Sequence[tuple[int, Figure]]]) -> Markup:
    """AUC against the number of training bases, a line a detector, with intervals; the first is ours."""
    figure = new_figure(560, 360)
    axes = figure.add_subplot()
    style_axes(axes, x_label="training bases", y_label="AUC on test networks", grid="both")
    for position, (title, points) in enumerate(curves.items()):
        color, style, marker = _look(position)
        sizes = [size for size, _ in points]
        axes.plot(sizes, [point.mean for _, point in points], color=color, linestyle=style, marker=marker, label=title)
        low, high = [point.low for _, point in points], [point.high for _, point in points]
        axes.fill_between(sizes, low, high, color=color, alpha=0.12, linewidth=0)
    axes.set_xscale("log")
    ticks = sorted({size for points in curves.values() for size, _ in points})
    axes.set_xticks(ticks, [str(size) for size in ticks], minor=False)
    axes.minorticks_off()
    axes.legend(loc="lower right", frameon=False, fontsize=FONT_SIZE, labelcolor=COLORS["ink"])
    ends = ", ".join(f"{title} {points[-1][1].mean:.3f}" for title, points in curves.items())
    return to_svg(figure, name, f"AUC against training bases; with all of them: {ends}")


def dots_by_group(name: str, groups: Sequence[str], marks: Mapping[str, Sequence[Figure | None]]) -> Markup:
    """AUC of every group, a mark a row of ``marks``, with intervals; the first is ours."""
    figure = new_figure(560, 60 + 46 * len(groups) + 10 * len(marks))
    axes = figure.add_subplot()
    style_axes(axes, x_label="AUC", grid="x")
    for position, (title, values) in enumerate(marks.items()):
        color, _, marker = _look(position)
        known = [(place, value) for place, value in enumerate(values) if value is not None]
        heights = [len(groups) - 1 - place + 0.3 - 0.6 * position / max(1, len(marks) - 1) for place, _ in known]
        axes.plot([value.mean for _, value in known], heights, marker, color=color, markersize=5, label=title)
        axes.hlines(heights, [value.low for _, value in known], [value.high for _, value in known], color=color)
    axes.axvline(0.5, color=COLORS["muted"], linewidth=0.8)
    axes.set_yticks(range(len(groups)), list(reversed(groups)))
    axes.set_ylim(-0.6, len(groups) - 0.4)
    legend_above(axes, 2)
    return to_svg(figure, name, f"AUC by group ({', '.join(groups)}) for {', '.join(marks)}")


def repair_points(name: str, points: Mapping[str, tuple[Figure, Figure]]) -> Markup:
    """ASR after repair against clean accuracy, a point a repairer with its intervals; the first is ours."""
    figure = new_figure(560, 360 + 10 * len(points))
    axes = figure.add_subplot()
    style_axes(axes, x_label="ASR after repair", y_label="clean accuracy after repair", grid="both")
    for position, (title, (asr, accuracy)) in enumerate(points.items()):
        color, _, marker = _look(position)
        axes.errorbar(
            asr.mean,
            accuracy.mean,
            xerr=[[asr.mean - asr.low], [asr.high - asr.mean]],
            yerr=[[accuracy.mean - accuracy.low], [accuracy.high - accuracy.mean]],
            fmt=marker,
            color=color,
            label=title,
        )
    legend_above(axes, 2)
    axes.margins(0.15)
    named = ", ".join(f"{title} {asr.mean:.3f}, {accuracy.mean:.3f}" for title, (asr, accuracy) in points.items())
    return to_svg(figure, name, f"ASR and clean accuracy after repair: {named}")
