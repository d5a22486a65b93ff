"""The headline figures of an evaluation: what ``figures.json`` holds and the report's first lines say."""

from __future__ import annotations

from zoovet.evaluation.figures.detection import STATNN
from zoovet.evaluation.figures.headline import headline_figures, write_figures

__all__ = ["STATNN", "headline_figures", "write_figures"]
