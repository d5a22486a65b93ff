"""What a job's own process does: scan a network or heal it, and write what was found into the job's folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from zoovet.architectures import NAMING_ASKED_FOR
from zoovet.errors import ZoovetError
from zoovet.evaluation.report.healing_lines import healing_lines
from zoovet.evaluation.report.scan_json import scan_as_json
from zoovet.evaluation.report.verdict_pages import verdict_fragment, verdict_lead, write_verdict_pages
from zoovet.files import write_text
from zoovet.images import Images
from zoovet.networks import stated_scaling
from zoovet.networks.input_shape import require_input_shape
from zoovet.serve.archives import unpack_images
from zoovet.serve.jobs import Order, Summary
from zoovet.serve.results import FRAGMENTS_NAME, REPORT_NAME, SCAN_NAME
from zoovet.vet import (
    Failure,
    FileResult,
    HealedFile,
    Policy,
    ReadOptions,
    Repairer,
    Scanner,
    Verdict,
    judged,
    notes_on_images,
    write_healed,
    write_repaired,
)

__all__ = ["heal", "scan"]

_ASKED_HERE = (
    "save the network itself as ONNX (torch.onnx.export) or by torch.export.save, which say what it is, and give that "
    "file; or run zoovet scan --architecture my_net.py:make, which runs that file"
)
"""What refusals say here, where no code of anyone is run, instead of NAMING_ASKED_FOR."""

_NUM_SHOWN = 10
"""Networks of one file whose verdicts the job's page shows whole; the report has all."""


def scan(order: Order, tell: Callable[[str], None]) -> dict[str, Any]:
    """Scan the network's file.

    Args:
        order: What is asked for.
        tell: Told what is sought.

    Returns:
        Plain JSON values: summaries, notes, and what went wrong.
    """
    options, notes = _read_options(order, tell)
    scanner = Scanner(options=options, effort=order.options.effort)
    tell("the network is read")
    (result,) = scanner.scan_files([Path(order.file)], progress=lambda so_far: tell(so_far.sought))
    return _written(order.results, result, notes)


def heal(order: Order, tell: Callable[[str], None]) -> dict[str, Any]:
    """Heal the network's file.

    Args:
        order: What is asked for.
        tell: Told what is done.

    Returns:
        Plain JSON values: the healed file's name in the results, and what was done.

    Raises:
        ZoovetError: It cannot be healed, is healthy, or its edit fails its own check.
    """
    options, _ = _read_options(order, tell)
    tell("the network is healed")
    file = Path(order.file)
    out = order.results / f"{file.stem}-healed{file.suffix}"
    repaired = Repairer(effort=order.options.effort).repair_file(file, options, progress=tell)
    if isinstance(repaired, HealedFile):
        return _healed(repaired, file, out)
    said = write_repaired(repaired, file, out)
    change = f"the weights changed by {100 * repaired.change:.1f} % of their norm"
    return {"healed": out.name, "healing": [change, *repaired.notes, *said, *repaired.general_notes]}


def _healed(repaired: HealedFile, file: Path, out: Path) -> dict[str, Any]:
    """What is kept of a network that no repairer knew, and what was done to it."""
    healing = repaired.healed.healing
    assert healing is not None
    lines = healing_lines(healing)
    if healing.after is None or not healing.is_healed:
        why = "; ".join(healing.shortcomings) or "it is found to be healthy, so that it stays as it is"
        raise ZoovetError(f"no healed network was written: {why}")
    return {"healed": out.name, "healing": [*lines, *healing.notes, *write_healed(repaired, file, out)]}


def _read_options(order: Order, tell: Callable[[str], None]) -> tuple[ReadOptions, list[str]]:
    given = order.options
    shape = None if given.shape is None else require_input_shape(given.shape)
    images = None
    if order.images:
        tell("reference images are read")
        images = Images.from_file(_unpacked(order), shape)
    scaling = stated_scaling(given.scaling or None, *map(given.numbers, ("input_range", "mean", "std")))
    notes = [] if images is None else [f"{order.images}: {note}" for note in notes_on_images(images, scaling)]
    options = ReadOptions(
        activation=given.activation or None,
        scaling=scaling,
        architecture=given.architecture or None,
        images=images,
        input_shape=shape,
    )
    return options, notes


def _unpacked(order: Order) -> Path:
    """The images' folder or ``.npz``; a zip is unpacked beside itself."""
    path = Path(order.images)
    if path.suffix.lower() != ".zip":
        return path
    folder = path.with_name(f"{path.name}-unpacked")
    shutil.rmtree(folder, ignore_errors=True)  # of a task that was cancelled, it may lack images
    return unpack_images(path, folder, max_files=order.max_image_files, max_bytes=order.max_unpacked_bytes)


def _written(results: Path, result: FileResult, notes: list[str]) -> dict[str, Any]:
    """What is kept of a file's result, and what its server is told."""
    failures: list[tuple[str, Failure]] = [] if result.failure is None else [(result.file, result.failure)]
    said = [(result.file, note) for note in (*notes, *result.notes, *result.general_notes)]
    decided = judged(result.verdicts, Policy(), datetime.now(UTC).date())
    write_text(results / SCAN_NAME, scan_as_json(decided, failures, said) + "\n")
    if result.verdicts:
        (results / REPORT_NAME).mkdir(mode=0o700)
        write_verdict_pages(results / REPORT_NAME, result.verdicts, failures)
        fragments = [verdict_fragment(verdict) for verdict in result.verdicts[:_NUM_SHOWN]]
        write_text(results / FRAGMENTS_NAME, json.dumps(fragments))
    failure = result.failure
    return {
        "summaries": [vars(_summary(verdict)) for verdict in result.verdicts[:_NUM_SHOWN]],
        "num_networks": len(result.verdicts),
        "notes": [note for _, note in said if not any(note in verdict.notes for verdict in result.verdicts)],
        "error": "" if failure is None else failure.message.replace(NAMING_ASKED_FOR, _ASKED_HERE),
        "choices": [] if failure is None else list(failure.choices),
    }


def _summary(verdict: Verdict) -> Summary:
    target = "" if verdict.target is None else f"{verdict.target}"
    if verdict.target_name is not None:
        target = f"{verdict.target_name} ({verdict.target})"
    return Summary(network=verdict.network, verdict=verdict.verdict, lead=verdict_lead(verdict), target=target)
