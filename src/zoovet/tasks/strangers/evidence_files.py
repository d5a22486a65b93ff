"""Files of evidence: some networks' evidence of classes, whole or absent, with a fingerprint of how it was sought."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import load, save

from zoovet.errors import ZoovetError
from zoovet.evidence import ClassEvidence, Evidence
from zoovet.files import atomic_path

__all__ = ["evidence_in", "evidence_row", "is_evidence_there", "read_evidence", "write_evidence"]

_FINGERPRINT = "zoovet_evidence"


def evidence_row(found: ClassEvidence) -> dict[str, Any]:
    """What is stored of a network's evidence, in half precision: a row's cells."""
    return {
        "evidence": save({name: values.half().contiguous() for name, values in found.evidence.classes.items()}),
        "settings": json.dumps(found.settings),
        "examined": found.examined.tolist(),
        "num_classes": found.num_classes,
    }


def evidence_in(row: Mapping[str, Any]) -> ClassEvidence:
    """What :func:`evidence_row` made cells of."""
    classes = {name: tensor.float() for name, tensor in load(row["evidence"]).items()}
    examined = torch.tensor(row["examined"])
    return ClassEvidence(Evidence(classes=classes), {}, json.loads(row["settings"]), examined, row["num_classes"])


def write_evidence(path: Path, rows: Sequence[Mapping[str, Any]], fingerprint: str) -> None:
    """Write a file; another of its name is replaced at once."""
    table = pa.Table.from_pylist(list(rows)).replace_schema_metadata({_FINGERPRINT: fingerprint})
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def is_evidence_there(path: Path, fingerprint: str) -> bool:
    """Whether a file is there, and holds what is sought.

    Raises:
        ZoovetError: It is damaged, or holds what was sought otherwise.
    """
    if not path.exists():
        return False
    with _whole(path):
        metadata = pq.read_schema(path).metadata or {}
    if metadata.get(_FINGERPRINT.encode(), b"").decode() != fingerprint:
        raise ZoovetError(
            f"{path} holds evidence that was sought otherwise (another evidence, images_per_class or "
            f"few_classes); give another folder, or remove this one"
        )
    return True


def read_evidence(path: Path) -> list[dict[str, Any]]:
    """A file's rows.

    Raises:
        ZoovetError: It is damaged.
    """
    with _whole(path):
        rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
        return rows


@contextmanager
def _whole(path: Path) -> Iterator[None]:
    """Raise a :class:`ZoovetError` where a file of evidence cannot be read."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise ZoovetError(f"{path} is damaged; remove it, and the same command seeks it again") from error
