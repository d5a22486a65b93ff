"""What is being sought in a network, in words, and which of how many searches that is."""

from __future__ import annotations

from collections.abc import Callable

from zoovet.evidence import ClassEvidenceConfig
from zoovet.evidence.bounds import BOUNDED_KINDS
from zoovet.progress_texts import counted

__all__ = ["counted_searches", "planned_searches"]

_WORDS = {
    "suspects": "classes that chance triggers raise",
    "patch": "patches, {:.0%} of the image's side",
    "pixels": "patterns of a few pixels",
    "change": "changes of all pixels",
    "smooth": "smooth changes",
    "warp": "warps",
    "blend": "images, blended in by {:.0%}",
    "usual_stripes": "stripes of all frequencies",
    "drawn_warp": "warps, from the best random ones",
    "usual_patch": "usual squares, {:.0%} of the image's side",
    "usual_blend": "usual noise, blended in by {:.0%}",
    "maximum margins": "images of each class without another",
    "warps and stripes": "answers to warped and striped images",
}
_HOW_FAR = ": how far"


def planned_searches(config: ClassEvidenceConfig) -> list[str]:
    """Names of all that :func:`~zoovet.evidence.class_evidence` tells that it seeks; patches may be left out."""
    bounded = {name.rpartition("_")[0] for name in config.searches} & set(BOUNDED_KINDS)
    names = ["suspects", *config.searches, *(f"{kind}{_HOW_FAR}" for kind in sorted(bounded))]
    return [*names, "maximum margins", "warps and stripes"]


def counted_searches(config: ClassEvidenceConfig, progress: Callable[[str], None]) -> Callable[[str], None]:
    """What :func:`~zoovet.evidence.class_evidence` is to tell, so that ``progress`` hears words and counts.

    Args:
        config: What is sought.
        progress: Told ``3 of 24: patches, 20 % of the image's side``.
    """
    total = len(planned_searches(config))
    number = 0

    def tell(name: str) -> None:
        nonlocal number
        number = min(number + 1, total)
        progress(counted(number, total, _in_words(name)))

    return tell


def _in_words(name: str) -> str:
    if name in _WORDS:
        return _WORDS[name]
    kind, _, setting = name.removesuffix(_HOW_FAR).rpartition("_")
    if name.endswith(_HOW_FAR):
        return f"{_WORDS[name.removesuffix(_HOW_FAR)]}: how strong they need to be"
    return _WORDS[kind].format(float(setting)).replace("%", " %")
