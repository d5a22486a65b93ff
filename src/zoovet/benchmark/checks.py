"""What a benchmark refuses before it begins: unknown families, and a folder whose results are not of the same kind."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoovet.benchmark.choosing import Choice
from zoovet.benchmark.config import BenchmarkConfig
from zoovet.benchmark.detectors import DETECTORS
from zoovet.benchmark.repairers import REPAIRERS
from zoovet.benchmark.trials import families_of
from zoovet.benchmark.worker import ChoiceJob
from zoovet.config import config_to_dict, dotted, write_config, written_config
from zoovet.errors import ZoovetError, nearest
from zoovet.files import require_writable_folder, write_json
from zoovet.json_files import read_json_object, typed_value
from zoovet.zoo import Zoo
from zoovet.zoo.store import ZooInfo

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = [
    "TRIALS_ONLY",
    "require_known_families",
    "require_same_choices",
    "require_same_origin",
    "require_same_settings",
    "write_origin",
]

Origin = dict[str, dict[str, Any]]
"""``zoos``: checksums of every zoo's shards; ``revisions``: of every detector and repairer, by folder of results."""

_ORIGIN_NAME = "origin.json"

TRIALS_ONLY = frozenset(
    {"zoos", "parts", "detectors", "repairers", "unseen_detectors", "families", "sizes", "sized_detectors", "seeds"}
)
"""Settings that say which trials there are, not what one of them is: they may change from run to run."""


def require_known_families(config: BenchmarkConfig, zoos: Mapping[str, Zoo]) -> None:
    """Check that every family that is left out occurs in one of the zoos at least.

    Raises:
        ZoovetError: One does not.
    """
    known = sorted({family for zoo in zoos.values() for family in families_of(zoo)})
    for family in config.families:
        if family not in known:
            raise ZoovetError(f"families has the unknown entry {family!r}{nearest(family, known)}")


def require_same_choices(config: BenchmarkConfig, out: Path) -> None:
    """A repairer's results of one folder come from one choice among the same settings.

    Raises:
        ZoovetError: The folder holds a choice among others.
    """
    repairers = config.repairers if "repair" in config.parts else ()
    for job in (ChoiceJob(zoo.name, repairer) for zoo in config.zoos for repairer in repairers):
        path = job.path(out)
        if path.exists() and Choice.load(path).asked != REPAIRERS[job.repairer].settings:
            raise ZoovetError(
                f"{path} is a choice among other settings of {job.repairer} than this version tries; give another "
                f"--out, or delete {path.parent} to measure {job.repairer} anew"
            )


def require_same_settings(config: DataclassInstance, out: Path, may_differ: Collection[str]) -> None:
    """Results of one folder come from one setting; which trials there are may change.

    Args:
        config: Of the benchmark, of whatever kind; kept in its folder.
        out: Its folder.
        may_differ: Settings that say which trials there are.

    Raises:
        ZoovetError: They differ; the message names the first setting that does.
    """
    path = require_writable_folder(out) / "benchmark.yaml"
    if path.exists():
        before, now = dotted(written_config(type(config), path)), dotted(config_to_dict(config))
        for key in sorted(before.keys() | now.keys(), key=lambda key: (key != "kind", key)):
            if key.partition("[")[0] not in may_differ and before.get(key) != now.get(key):
                raise ZoovetError(
                    f"{out} holds a benchmark with another {key}: {before.get(key)!r} there, {now.get(key)!r} now; "
                    f"give another --out"
                )
    write_config(config, path)


def require_same_origin(config: BenchmarkConfig, out: Path) -> Origin:
    """Results of one folder come from one zoo of each name and from one revision of each detector and repairer.

    Returns:
        What the folder's results come from, those still to be measured included; :func:`write_origin` keeps it.

    Raises:
        ZoovetError: A zoo has other shards than when the folder's first results were written, a detector or repairer
            gave other results then, or the file that says so is damaged.
    """
    path = out / _ORIGIN_NAME
    try:
        before = read_json_object(path) if path.exists() else {"zoos": {}, "revisions": {}}
        zoos, revisions = (typed_value(before, key, dict, f"{path} is damaged") for key in ("zoos", "revisions"))
    except ZoovetError as error:
        raise ZoovetError(f"{error}; give another --out") from None
    for zoo in config.zoos:
        shards = [shard.sha256 for shard in ZooInfo.read(zoo).shards]
        if zoos.setdefault(zoo.name, shards) != shards:
            raise ZoovetError(
                f"{out} holds a benchmark on another zoo of the name {zoo.name}: the shards of {zoo} are not those "
                f"that its results were measured on; give another --out"
            )
        for name, revision in _revisions(config, zoo.name):
            folder = out / name
            if revisions.get(name, 1) != revision and any(folder.rglob("*.parquet")):
                raise ZoovetError(
                    f"{folder} has results of an older {folder.name}, which this version computes differently; delete "
                    f"that folder to measure {folder.name} anew, or give another --out"
                )
            revisions[name] = revision
    return {"zoos": zoos, "revisions": revisions}


def write_origin(origin: Origin, out: Path) -> None:
    """Keep what a folder's results come from."""
    write_json(out / _ORIGIN_NAME, origin)


def _revisions(config: BenchmarkConfig, zoo: str) -> Iterator[tuple[str, int]]:
    """Folders of results below a benchmark's, and the revision of what they are of."""
    for name in (*config.detectors, *config.unseen_detectors, *config.sized_detectors):
        yield f"detection/{zoo}/{name}", DETECTORS[name].revision
    for name in config.repairers:
        yield f"repair/{zoo}/{name}", REPAIRERS[name].revision
