"""Verdicts as web pages, one a network: the trigger that was found and what it does, for a person to check."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

import zoovet
from zoovet.evaluation.report.formats import FILTERS
from zoovet.evaluation.report.pictures import mask_data, picture_data
from zoovet.evaluation.report.templating import report_environment, report_file
from zoovet.files import write_text
from zoovet.printable import MAX_PATH_CHARACTERS, printable
from zoovet.vet import Example, Failure, Verdict

__all__ = ["INDEX_NAME", "verdict_fragment", "verdict_lead", "write_verdict_pages"]

INDEX_NAME = "index.html"
_NUM_CLASSES = 10
_MAX_NAME = 80
_KINDS = {
    "patch": "A patch of {:.0f} × {:.0f} pixels.",
    "pixels": "At most {:.0f} pixels anywhere, changed as far as one likes.",
    "change": "A change of all pixels, each by at most {:.3f} of its range.",
    "smooth": "A change of all pixels that varies slowly, each by at most {:.3f} of its range.",
    "warp": "A smooth warp of the image, which moves pixels.",
    "blend": "An image that is blended into the image with a weight of {:.2f}.",
    "usual_stripes": "Stripes over the image.",
    "stripes": "Stripes over the image.",
    "drawn_warp": "A smooth warp of the image, which moves pixels.",
    "usual_patch": "A square of {:.0f} × {:.0f} pixels of one colour, a checker, or noise.",
    "usual_blend": "Noise that is blended into the image with a weight of {:.2f}.",
}
_HALVED = ("change", "smooth")
"""Kinds whose setting is told in images of [-1, 1]."""


def write_verdict_pages(
    folder: Path,
    verdicts: Sequence[Verdict],
    failures: Sequence[tuple[str, Failure]] = (),
    *,
    is_whole: bool = True,
) -> dict[str, Verdict]:
    """Write a page for each network, each one HTML file that needs nothing else, and an index of them.

    Args:
        folder: Where; it is there.
        verdicts: On networks.
        failures: Files that could not be scanned, and why; the index says them.
        is_whole: Whether the scan came to its end; where not, the index says so.

    Returns:
        The pages' names, in the order of the verdicts, and which verdict each is of.
    """
    environment = report_environment()
    common = {"style": Markup(report_file("style.css")), "version": zoovet.__version__}
    pages = _named(verdicts)
    several = {verdict.file for verdict in verdicts if verdict.network > 0}
    rows = []
    for name, verdict in pages.items():
        title = printable(verdict.file, MAX_PATH_CHARACTERS)
        title = f"{title}[{verdict.network}]" if verdict.file in several else title
        text = environment.get_template("verdict.html.j2").render(**common, **_contents(verdict, title))
        write_text(folder / name, text)
        target = "" if verdict.target is None else _class_name(verdict, verdict.target)
        probability = None if verdict.verdict == "unknown" else verdict.probability
        rows.append(
            {"page": name, "title": title, "verdict": verdict.verdict, "probability": probability, "target": target}
        )
    counts = Counter(verdict.verdict for verdict in verdicts)
    words = [f"{counts[kind]} {kind}" for kind in ("trojaned", "unknown", "healthy") if counts[kind]]
    text = environment.get_template("verdicts.html.j2").render(
        **common,
        rows=rows,
        counts=", ".join(words),
        failures=[failure.message for _, failure in failures],
        is_whole=is_whole,
    )
    write_text(folder / INDEX_NAME, text)
    return pages


def verdict_fragment(verdict: Verdict) -> str:
    """What a verdict's page shows beneath its heading, for a page of another's: sections of HTML, all text escaped."""
    contents = _contents(verdict, printable(verdict.file, MAX_PATH_CHARACTERS))
    return report_environment().get_template("verdict_parts.html.j2").render(**contents)


def _named(verdicts: Sequence[Verdict]) -> dict[str, Verdict]:
    """Pages by name: the file's, made safe for any store, and the network's number where there are several."""
    several = {verdict.file for verdict in verdicts if verdict.network > 0}
    pages: dict[str, Verdict] = {}
    taken = {INDEX_NAME}
    for verdict in verdicts:
        stem = re.sub(r"[^A-Za-z0-9._-]+", "_", Path(verdict.file).name)[:_MAX_NAME].lstrip(".") or "network"
        stem = f"{stem}-{verdict.network}" if verdict.file in several else stem
        name, count = f"{stem}.html", 1
        while name.lower() in taken:
            count += 1
            name = f"{stem}-{count}.html" if verdict.file not in several else f"{stem}_{count}.html"
        taken.add(name.lower())
        pages[name] = verdict
    return pages


def _contents(verdict: Verdict, title: str) -> dict[str, Any]:
    trigger = verdict.trigger
    ordered = sorted(enumerate(verdict.class_probabilities), key=lambda pair: -pair[1])
    return {
        "verdict": verdict,
        "title": title,
        "lead": verdict_lead(verdict),
        "class_name": lambda number: _class_name(verdict, number),
        "trigger": trigger,
        "trigger_words": "" if trigger is None else _trigger_in_words(trigger.search, trigger.setting),
        "pictures": {}
        if trigger is None
        else {"trigger": picture_data(trigger.picture.numpy()), "mask": mask_data(trigger.mask.numpy())},
        "examples": [] if trigger is None else [_example(example) for example in trigger.examples],
        "classes": ordered[:_NUM_CLASSES] if verdict.verdict == "trojaned" else [],
        "num_classes": len(ordered),
        "facts": _facts(verdict),
    }


def verdict_lead(verdict: Verdict) -> str:
    """What a verdict means, in a sentence or two."""
    if verdict.verdict == "unknown":
        return f"Nothing can be said of this network: {verdict.reason}."
    if verdict.verdict == "healthy":
        return "No trojan was found in this network. That is no proof that there is none."
    if verdict.target is None:
        if verdict.trigger is not None:
            return "This network probably carries a trojan: with a trigger, images of each class are taken for another."
        return "This network probably carries a trojan: some pattern makes it answer what an attacker wants."
    name = _class_name(verdict, verdict.target)
    return f"This network probably carries a trojan: with a trigger, images of other classes are taken for {name}."


def _class_name(verdict: Verdict, number: int) -> str:
    name = verdict.class_names[number] if verdict.class_names else None
    return f"class {number}" if name is None else f"{printable(name)} ({number})"


def _trigger_in_words(search: str, setting: float) -> str:
    kind = search.rpartition("_")[0]
    if kind not in _KINDS:
        return f"Found by the search {search}."
    shown = setting / 2 if kind in _HALVED else setting
    return _KINDS[kind].format(shown, shown)


def _example(example: Example) -> dict[str, Any]:
    pictures = {name: picture_data(getattr(example, name).numpy()) for name in ("image", "triggered")}
    return {**vars(example), **pictures}


def _facts(verdict: Verdict) -> list[tuple[str, str]]:
    duration = FILTERS["duration"](verdict.seconds)
    scaling = "not known" if verdict.input_scaling is None else verdict.input_scaling.describe()
    assumed = " (assumed)" if verdict.scaling_is_assumed else ""
    facts = [
        ("File", printable(verdict.file, MAX_PATH_CHARACTERS)),
        ("Detector", "none" if verdict.detector is None else printable(verdict.detector)),
        ("Rests on", verdict.rests_on or "nothing"),
        ("Input scaling", scaling + assumed),
    ]
    if verdict.effort is not None:
        facts += [("Effort", verdict.effort), ("Time", duration)]
    return facts
