"""What a reader of class evidence reads: numbers of one meaning for every search, in units of the network's classes.

Nothing here is learned, and nothing depends on the order of the classes, on their number, or on the size of a network's
logits: those are what strangers differ in.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from zoovet.evidence.class_search import COURSE
from zoovet.evidence.evidence_of_classes import ClassEvidence
from zoovet.evidence.own_units import FLOORS, own_units

__all__ = ["FEATURES", "KINDS", "SEARCHES", "ClassFeatures", "class_features", "greatest_exchange", "shares_of"]

SEARCHES = (
    "patch_0.125",
    "patch_0.2",
    "pixels_0.3",
    "pixels_1",
    "change_0.5",
    "change_1",
    "smooth_1",
    "warp_0.5",
    "warp_1",
    "usual_stripes_0.2",
    "usual_stripes_0.35",
    "blend_0.12",
    "blend_0.22",
    "drawn_warp_0.03",
    "drawn_warp_0.05",
    "usual_patch_0.125",
    "usual_patch_0.2",
    "usual_blend_0.12",
    "usual_blend_0.22",
)
"""Kinds of evidence that a configuration may leave out."""

_ANSWERS = ("warps", "stripes")

KINDS = (*SEARCHES, "margins", *_ANSWERS, "confusion")
"""What evidence is of; a kind may be lacking."""

FEATURES = (
    *(f"{what}, own units" for what in COURSE),
    "lead in margin",
    "lead in probability",
    "first step, own units",
    "margin",
    "flips, log odds",
    "probability, log odds",
    "weak margin, own units",
    "weak flips, log odds",
    "low margin, own units",
    "least flips, own units",
    "margin deviation",
    "least flips, log odds",
    "exchange",
    "natural power",
)
"""Of every kind: how far a class stands out among the network's own, how far it leads the next, and what it comes to.
Shares of images and probabilities are log odds: a trojan wins nearly all images, what is easy to be taken for most of
them, and between these two a share itself hardly differs."""

_LEAST_SHARE, _LEAST_PROBABILITY, _ODDS_UNIT = 0.02, 0.001, 3.0
"""What is no less than 0 and no more than 1, of a few dozen images and of a mean probability; and the unit of log odds,
so that they are about as great as other features."""


@dataclass(frozen=True, eq=False)
class ClassFeatures:
    """Numbers of one network's classes.

    Attributes:
        values: [classes, kinds, features]; 0 where a kind is lacking or has no such number.
        present: bool [kinds].
    """

    values: Tensor
    present: Tensor


def class_features(found: ClassEvidence) -> ClassFeatures:
    """The numbers of :data:`KINDS` and :data:`FEATURES`, from what was found out about one network."""
    classes = {name: values[0] for name, values in found.evidence.classes.items()}
    count = len(classes["clean"])
    values = classes["clean"].new_zeros(count, len(KINDS), len(FEATURES))
    present = torch.zeros(len(KINDS), dtype=torch.bool, device=values.device)
    for place, kind in enumerate(KINDS):
        columns = _of_kind(kind, classes)
        present[place] = bool(columns)
        for name, column in columns.items():
            values[:, place, FEATURES.index(name)] = column
    return ClassFeatures(values, present)


def greatest_exchange(features: ClassFeatures) -> float:
    """The share of classes that one trigger makes each another, of that kind of trigger which makes most."""
    shares = features.values[:, features.present, FEATURES.index("exchange")].mean(0)
    return float(shares.max()) if len(shares) else 0.0


def _of_kind(kind: str, classes: dict[str, Tensor]) -> dict[str, Tensor]:
    """Feature → [classes]; empty where nothing of the kind was sought."""
    if kind in _ANSWERS:
        mean, most, spread = classes[kind].unbind(1)  # what a probability is raised by: what is lowered counts as 0
        raised = [own_units(values[None], FLOORS["probability"])[0] for values in (mean, most, spread)]
        standing = dict(zip(FEATURES[:3], map(_squashed, raised), strict=True))
        return standing | {
            "lead in probability": _squashed(_lead(raised[0])),
            "flips, log odds": _log_odds(most, _LEAST_SHARE),
            "probability, log odds": _log_odds(mean, _LEAST_PROBABILITY),
        }
    if kind == "margins":
        margins = classes[kind]
        late, early = (own_units(margins[None, :, step], FLOORS["margin"])[0] for step in (-1, margins.shape[1] // 2))
        return {
            "margin, own units": _squashed(late),
            "first step, own units": _squashed(early),
            "lead in margin": _squashed(_lead(late)),
            "margin": _squashed(margins[:, -1]),
        }
    if kind == "confusion":
        taken, kept = classes[kind].unbind(1)
        often = own_units(taken[None], FLOORS["flips"])[0]
        return {
            "flips, own units": _squashed(often),
            "flips, log odds": _log_odds(taken, _LEAST_SHARE),
            "probability, log odds": _log_odds(kept, _LEAST_PROBABILITY),
        }
    if f"{kind}.found" not in classes:
        return {}
    gained = classes[f"{kind}.found"] - classes["clean"]
    course = classes[f"{kind}.course"][:, :, 0]
    own = [own_units(gained[None, :, place], FLOORS[what])[0] for place, what in enumerate(COURSE)]
    first = own_units((course[:, 1] - course[:, 0])[None], FLOORS["margin"])[0]
    weak = classes[f"{kind}.weak"]
    low, deviation, least = classes[f"{kind}.spread"].unbind(1)
    still = own_units((weak[:, 0] - classes["clean"][:, 0])[None], FLOORS["margin"])[0]
    return {
        **dict(zip(FEATURES[:3], map(_squashed, own), strict=True)),
        "weak margin, own units": _squashed(still),
        "weak flips, log odds": _log_odds(weak[:, 1], _LEAST_SHARE),
        "low margin, own units": _squashed(own_units(low[None], FLOORS["margin"])[0]),
        "least flips, own units": _squashed(own_units(least[None], FLOORS["flips"])[0]),
        "margin deviation": _squashed(deviation),
        "least flips, log odds": _log_odds(least, _LEAST_SHARE),
        "lead in margin": _squashed(_lead(own[0])),
        "lead in probability": _squashed(_lead(own[2])),
        "first step, own units": _squashed(first),
        "margin": _squashed(gained[:, 0]),
        "flips, log odds": _log_odds(classes[f"{kind}.found"][:, 1], _LEAST_SHARE),
        "probability, log odds": _log_odds(classes[f"{kind}.found"][:, 2], _LEAST_PROBABILITY),
        **{
            feature: classes[f"{kind}.{name}"][:, 0]
            for feature, name in (("exchange", "exchange"), ("natural power", "natural"))
            if f"{kind}.{name}" in classes
        },
    }


def _squashed(values: Tensor) -> Tensor:
    """Signed logarithm: what stands out by 60 deviations is more than what does by 6, but not ten times more."""
    return values.sign() * values.abs().log1p()


def _log_odds(shares: Tensor, least: float) -> Tensor:
    """Of shares, those below ``least`` as if they were that, and those as near to 1 likewise."""
    return shares.logit(eps=least) / _ODDS_UNIT


def shares_of(log_odds: Tensor) -> Tensor:
    """The shares, or probabilities, that features called log odds say."""
    return (_ODDS_UNIT * log_odds).sigmoid()


def _lead(values: Tensor) -> Tensor:
    """Each class's number less the greatest of the others: [classes]."""
    if len(values) < 2:
        return torch.zeros_like(values)
    first, second = values.topk(2).values
    return values - torch.where(values >= first, second, first)
