"""What ``zoovet scan --json`` prints; ``docs/scan.schema.json`` says it as a JSON schema."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from zoovet.evaluation.report.pictures import mask_data, picture_data
from zoovet.fetching import Skipped
from zoovet.printable import text_of_name
from zoovet.vet import Failure, FoundTrigger, Judged

__all__ = ["finite_or_none", "scan_as_json", "verdict_as_json"]


def scan_as_json(
    judged: Sequence[Judged],
    failures: Sequence[tuple[str, Failure]],
    notes: Sequence[tuple[str, str]],
    skipped: Sequence[Skipped] = (),
    *,
    is_whole: bool = True,
) -> str:
    """Verdicts, what could not be scanned, and what is to be said of files.

    Args:
        judged: Verdicts on networks, in their order.
        failures: A file's name, and what went wrong with it.
        notes: A file's name, and a line on it.
        skipped: What was left out of folders and repositories.
        is_whole: Whether the scan came to its end.
    """
    errors = [{"file": text_of_name(file), "error": failure.message} for file, failure in failures]
    said = [{"file": text_of_name(file), "note": note} for file, note in notes]
    left_out = [{"file": text_of_name(one.name), "reason": one.reason} for one in skipped]
    verdicts = list(map(verdict_as_json, judged))
    found = {"is_whole": is_whole, "verdicts": verdicts, "errors": errors, "notes": said, "skipped": left_out}
    return json.dumps(found, indent=2, allow_nan=False)


def verdict_as_json(judged: Judged) -> dict[str, Any]:
    """A verdict as plain JSON values; what is said of its whole file stands among the notes."""
    verdict, allowance = judged.verdict, judged.allowance
    scaling = verdict.input_scaling
    made = {
        "file": text_of_name(verdict.file),
        "input_scaling": None if scaling is None else scaling.to_json(),
        "class_names": list(map(_name, verdict.class_names)),
        "target_name": _name(verdict.target_name),
        "class_probabilities": list(verdict.class_probabilities),
        "cautions": list(verdict.cautions),
        "trigger": None if verdict.trigger is None else _trigger(verdict.trigger),
        "suspects": [{name: finite_or_none(value) for name, value in vars(one).items()} for one in verdict.suspects],
    }
    row = {name: made.get(name, value) for name, value in vars(verdict).items() if name != "notes"}
    allowed = None if allowance is None else {"reason": allowance.reason, "expires": allowance.expires.isoformat()}
    return {**row, "score": verdict.probability, "passes": judged.passes, "allowed": allowed}


def _trigger(trigger: FoundTrigger) -> dict[str, Any]:
    plain = {name: getattr(trigger, name) for name in ("target", "search", "setting", "flips", "flips_before")}
    shown = ("label", "before", "before_probability", "after", "after_probability")
    examples = [{name: getattr(example, name) for name in shown} for example in trigger.examples]
    pictures = {"picture": picture_data(trigger.picture.numpy()), "mask": mask_data(trigger.mask.numpy())}
    return {**plain, **pictures, "examples": examples}


def _name(name: str | None) -> str | None:
    return None if name is None else text_of_name(name)


def finite_or_none(value: Any) -> Any:
    """What JSON can say: a number that is not finite becomes ``None``, all else stays."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
