"""What a benchmark refuses before it begins: unknown families, and a folder whose results are not of the same kind."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from zoovet.benchmark.choosing import Choice
from zoovet.benchmark.config import BenchmarkConfig
from zoovet.benchmark.repairers import REPAIRERS
from zoovet.benchmark.trials import families_of
from zoovet.benchmark.worker import ChoiceJob
from zoovet.config import config_to_dict, dotted, write_config, written_config
from zoovet.errors import ZoovetError, nearest
from zoovet.files import require_writable_folder, write_json
from zoovet.zoo import Zoo
from zoovet.zoo.store import ZooInfo

__all__ = ["require_known_families", "require_same_choices", "require_same_settings", "require_same_zoos"]

_PARTS_ONLY = ("parts", "detectors", "repairers", "unseen_detectors", "families", "sizes", "sized_detectors", "seeds")
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


def require_same_settings(config: BenchmarkConfig, out: Path) -> None:
    """Results of one folder come from one setting; which trials there are may change.

    Raises:
        ZoovetError: They differ; the message names the first setting that does.
    """
    path = require_writable_folder(out) / "benchmark.yaml"
    if path.exists():
        may_differ = {"zoos", *_PARTS_ONLY}
        before, now = dotted(written_config(BenchmarkConfig, path)), dotted(config_to_dict(config))
        for key in sorted(before.keys() | now.keys()):
            if key not in may_differ and before.get(key) != now.get(key):
                raise ZoovetError(
                    f"{out} holds a benchmark with another {key}: {before.get(key)!r} there, {now.get(key)!r} now; "
                    f"give another --out"
                )
    write_config(config, path)


def require_same_zoos(config: BenchmarkConfig, out: Path) -> None:
    """Results of one folder come from one zoo of each name; what a zoo is, is said by its shards' checksums.

    Raises:
        ZoovetError: A zoo has other shards than when the folder's first results were written; or the file that says
            so is damaged.
    """
    path = require_writable_folder(out) / "zoos.json"
    try:
        before = dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}
    except (ValueError, TypeError) as error:
        raise ZoovetError(f"{path} is damaged ({error}); give another --out") from error
    now = {zoo.name: [shard.sha256 for shard in ZooInfo.read(zoo).shards] for zoo in config.zoos}
    for zoo in config.zoos:
        if before.get(zoo.name, now[zoo.name]) != now[zoo.name]:
            raise ZoovetError(
                f"{out} holds a benchmark on another zoo of the name {zoo.name}: the shards of {zoo} are not those "
                f"that its results were measured on; give another --out"
            )
    write_json(path, before | now)
