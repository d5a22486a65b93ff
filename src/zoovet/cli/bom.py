"""A scan as a CycloneDX bill of materials: each network a component, with its digests and its verdict."""

from __future__ import annotations

import hashlib
import importlib.util
import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import zoovet
from zoovet.errors import ZoovetError
from zoovet.printable import MAX_PATH_CHARACTERS, printable

if TYPE_CHECKING:
    from cyclonedx.model.component import Component

    from zoovet.vet import Failure, Judged

__all__ = ["require_bom_library", "scan_as_bom"]

_MAX_CHARACTERS = 2000
_FACTS = ("verdict", "reason", "probability", "threshold", "target", "target_name", "detector", "rests_on", "effort")


def require_bom_library() -> None:
    """Raise where the package that writes them is not installed."""
    if importlib.util.find_spec("cyclonedx") is None:
        raise ZoovetError("--bom needs the package cyclonedx-python-lib: pip install 'zoovet[bom]'")


def scan_as_bom(
    judged: Sequence[Judged],
    failures: Sequence[tuple[str, Failure]],
    paths: Mapping[str, Path],
    now: datetime,
    *,
    is_whole: bool,
) -> str:
    """The document, CycloneDX 1.6 in JSON, which ends with a line break.

    Each network is a component of the type ``machine-learning-model`` with the SHA-256 of its file and properties
    ``zoovet:…``: the verdict and what it rests on, ``zoovet:weights_sha256``, whether a policy lets it pass. A file
    that could not be scanned is one too, with the verdict ``not scanned``: what nobody looked at is not left out.

    Args:
        judged: Verdicts on networks, in their order.
        failures: A file's name, and what went wrong with it.
        paths: Where files lie that are called otherwise.
        now: When the scan was.
        is_whole: Whether the scan came to its end; where not, the document's metadata say ``zoovet:is_whole``, false.
    """
    from cyclonedx.model import Property
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output import make_outputter
    from cyclonedx.schema import OutputFormat, SchemaVersion

    def component(file: str, network: int, facts: dict[str, str]) -> Component:
        return _component(file, network, facts, _file_digest(paths.get(file, Path(file))))

    networks = [component(one.verdict.file, one.verdict.network, dict(_properties(one))) for one in judged]
    said = ({"verdict": "not scanned", "reason": failure.message} for _, failure in failures)
    broken = [component(file, 0, facts) for (file, _), facts in zip(failures, said, strict=True)]
    bom = Bom(components=[*networks, *broken])
    identity = "\n".join(sorted(str(component.bom_ref.value) for component in bom.components))
    bom.serial_number = uuid.uuid5(uuid.NAMESPACE_OID, f"{now.isoformat()}\n{identity}")
    bom.metadata.timestamp = now.astimezone(UTC)
    tool = Component(name="zoovet", version=zoovet.__version__, type=ComponentType.APPLICATION, bom_ref="zoovet")
    bom.metadata.tools.components.add(tool)
    if not is_whole:
        bom.metadata.properties.add(Property(name="zoovet:is_whole", value="false"))
    return make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=2) + "\n"


def _component(file: str, network: int, facts: dict[str, str], digest: str | None) -> Component:
    from cyclonedx.model import HashAlgorithm, HashType, Property
    from cyclonedx.model.component import Component, ComponentType

    shown = printable(file, MAX_PATH_CHARACTERS)
    return Component(
        name=printable(Path(file).name, MAX_PATH_CHARACTERS) if file else shown,
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref=f"{shown}#{network}",
        hashes=[] if digest is None else [HashType(alg=HashAlgorithm.SHA_256, content=digest)],
        properties=[
            Property(name=f"zoovet:{name}", value=value)
            for name, value in {"file": shown, "network": str(network), **facts}.items()
        ],
    )


def _properties(one: Judged) -> Iterator[tuple[str, str]]:
    for name in _FACTS:
        value = getattr(one.verdict, name)
        if value is not None:
            yield name, printable(value, _MAX_CHARACTERS)
    if one.verdict.digest is not None:
        yield "weights_sha256", one.verdict.digest
    yield "passes", "true" if one.passes else "false"
    if one.allowance is not None:
        yield "allowed_until", one.allowance.expires.isoformat()
        yield "allowed_because", printable(one.allowance.reason, _MAX_CHARACTERS)


def _file_digest(path: Path) -> str | None:
    """SHA-256 of a file; ``None`` of a folder, and where it cannot be read."""
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
