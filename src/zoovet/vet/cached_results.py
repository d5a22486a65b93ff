"""What is said of one file, as bytes that the next scan reads: safetensors, never a pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from zoovet.networks import InputScaling
from zoovet.vet.file_result import FileResult
from zoovet.vet.found_trigger import Example, FoundTrigger
from zoovet.vet.suspect_channels import SuspectChannel
from zoovet.vet.verdicts import Verdict

__all__ = ["result_from_bytes", "result_to_bytes"]

_KEY = "zoovet_scan"
_LENGTH_BYTES = 8


def result_to_bytes(result: FileResult) -> bytes:
    """A result without a failure; its file's name and place are left out."""
    assert result.failure is None
    tensors: dict[str, Tensor] = {}
    said = {
        "verdicts": [_of_verdict(verdict, f"{index}", tensors) for index, verdict in enumerate(result.verdicts)],
        "notes": result.notes,
        "general_notes": result.general_notes,
    }
    return save(tensors, {_KEY: json.dumps(said)})


def result_from_bytes(data: bytes, place: int, file: str) -> FileResult | None:
    """What :func:`result_to_bytes` wrote; ``None`` where it is of another version.

    Args:
        data: The bytes.
        place: The file's number among those that are scanned now.
        file: Its name now.
    """
    try:
        tensors = load(data)
        end = _LENGTH_BYTES + int.from_bytes(data[:_LENGTH_BYTES], "little")
        said = json.loads(json.loads(data[_LENGTH_BYTES:end])["__metadata__"][_KEY])
        verdicts = tuple(_to_verdict(row, f"{index}", tensors, file) for index, row in enumerate(said["verdicts"]))
        return FileResult(place, file, verdicts, None, tuple(said["notes"]), tuple(said["general_notes"]))
    except (SafetensorError, KeyError, TypeError, ValueError, AttributeError):
        return None


def _of_verdict(verdict: Verdict, name: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
    row = {field.name: getattr(verdict, field.name) for field in fields(verdict) if field.name != "file"}
    scaling, trigger = verdict.input_scaling, verdict.trigger
    row["input_scaling"] = None if scaling is None else scaling.to_json()
    row["suspects"] = [vars(suspect) for suspect in verdict.suspects]
    row["trigger"] = None if trigger is None else _of_trigger(trigger, name, tensors)
    return row


def _of_trigger(trigger: FoundTrigger, name: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
    row = _plain(trigger, f"{name}.trigger", tensors)
    row["examples"] = [
        _plain(example, f"{name}.example.{index}", tensors) for index, example in enumerate(trigger.examples)
    ]
    return row


def _plain(whole: Example | FoundTrigger, name: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
    """The plain values of a record; its tensors are put aside."""
    row: dict[str, Any] = {}
    for key, value in vars(whole).items():
        if isinstance(value, Tensor):
            tensors[f"{name}.{key}"] = value.detach().cpu().clone().contiguous()
        elif key != "examples":
            row[key] = value
    return row


def _to_verdict(row: Mapping[str, Any], name: str, tensors: Mapping[str, Tensor], file: str) -> Verdict:
    scaling, trigger = row["input_scaling"], row["trigger"]
    lists = {key: tuple(value) for key, value in row.items() if isinstance(value, list)}
    changed: dict[str, Any] = {
        **lists,
        "input_scaling": None if scaling is None else InputScaling.from_json(scaling),
        "suspects": tuple(SuspectChannel(**suspect) for suspect in row["suspects"]),
        "trigger": None if trigger is None else _to_trigger(trigger, name, tensors),
    }
    return Verdict(file=file, **{**row, **changed})


def _to_trigger(row: Mapping[str, Any], name: str, tensors: Mapping[str, Tensor]) -> FoundTrigger:
    examples = tuple(
        Example(**example, **_with_prefix(tensors, f"{name}.example.{index}."))
        for index, example in enumerate(row["examples"])
    )
    return FoundTrigger(**{**row, "examples": examples}, **_with_prefix(tensors, f"{name}.trigger."))


def _with_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Any]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
