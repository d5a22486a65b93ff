"""What healing a network did, as one web page that needs nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from markupsafe import Markup

import zoovet
from zoovet.evaluation.report.pictures import picture_data
from zoovet.evaluation.report.templating import report_environment, report_file
from zoovet.files import write_text
from zoovet.printable import MAX_PATH_CHARACTERS, printable
from zoovet.vet import Healing

__all__ = ["write_healing_page"]

_NUM_CHANGES = 10
_NUM_TRIGGERS = 12


def write_healing_page(path: Path, healing: Healing, file: Path, written: Path | None) -> None:
    """Write the page; the file is there whole or not at all.

    Args:
        path: Where.
        healing: What was done.
        file: The input.
        written: The output; ``None`` where nothing was written.
    """
    text = (
        report_environment()
        .get_template("healing.html.j2")
        .render(
            style=Markup(report_file("style.css")),
            version=zoovet.__version__,
            title=printable(file, MAX_PATH_CHARACTERS),
            written=None if written is None else printable(written, MAX_PATH_CHARACTERS),
            healing=healing,
            outcome=_outcome(healing),
            triggers=_triggers(healing),
            changes=[(printable(name, 80), share) for name, share in list(healing.changes.items())[:_NUM_CHANGES]],
            picture=None if healing.before.trigger is None else picture_data(healing.before.trigger.picture.numpy()),
        )
    )
    write_text(path, text)


def _outcome(healing: Healing) -> str:
    if healing.edit is None:
        return "left as it is"
    if healing.is_healed:
        return "edited" if healing.before.verdict == "healthy" else "healed"
    return "not healed"


def _triggers(healing: Healing) -> list[dict[str, Any]]:
    """The triggers that turned most images before the edit."""
    edit = healing.edit
    if edit is None:
        return []
    found = zip(edit.triggers, edit.flips_before, edit.flips_after, strict=True)
    rows = sorted(found, key=lambda row: -row[1])[:_NUM_TRIGGERS]
    return [{"kind": one.kind, "target": one.target, "before": before, "after": after} for one, before, after in rows]
