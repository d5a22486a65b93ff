"""What healing a stranger did, in a few lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoovet.printable import printable

if TYPE_CHECKING:
    from zoovet.vet import Healing, Verdict

__all__ = ["healing_lines"]

_NUM_CHANGES = 5


def healing_lines(healing: Healing) -> list[str]:
    """The verdicts, the found trigger's ASR, accuracy with intervals, the largest changes, and what it comes to."""
    lines = [f"before: {_in_words(healing.before)}"]
    edit = healing.edit
    if edit is None:
        return lines
    accuracies = healing.accuracies
    assert accuracies is not None
    before, after = accuracies
    lines.append(
        f"accuracy on {edit.num_held_out} held-out {healing.images_in_words}: {before.in_words()} before, "
        f"{after.in_words()} after an edit that did not learn from them"
    )
    strongest = edit.strongest
    if strongest is not None:
        kind, target = edit.triggers[strongest].kind, edit.triggers[strongest].target
        lines.append(
            f"ASR of the strongest trigger found ({kind}, towards class {target}): {edit.flips_before[strongest]:.2f} "
            f"before, {edit.flips_after[strongest]:.2f} after"
        )
    if healing.after is not None:
        largest = list(healing.changes.items())[:_NUM_CHANGES]
        lines.append(
            f"edit: strength {edit.strength:g}, the weights changed by {100 * edit.change:.1f} % of their norm; most: "
            + ", ".join(f"{printable(name, 60)} {100 * share:.0f} %" for name, share in largest)
        )
        lines.append(f"after: {_in_words(healing.after)}")
    if healing.shortcomings:
        return [*lines, *(f"not healed: {reason}" for reason in healing.shortcomings)]
    if healing.before.verdict == "healthy":
        return [
            *lines,
            "edited, though nothing was found before: these measures do not tell whether there was a trojan",
        ]
    return [*lines, "healed by these measures"]


def _in_words(verdict: Verdict) -> str:
    probability = "" if verdict.probability is None else f", probability of a trojan {verdict.probability:.2f}"
    target = "" if verdict.target is None else f", towards class {verdict.target}"
    if verdict.target_name is not None:
        target += f" ({printable(verdict.target_name)})"
    reason = "" if verdict.reason is None else f" ({verdict.reason})"
    return f"{verdict.verdict}{probability}{target}{reason}"
