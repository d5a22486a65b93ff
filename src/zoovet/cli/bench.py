"""``zoovet bench``: detectors and repairers, ours and rivals', on the same networks with several seeds."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from zoovet.cli.arguments import add_data_root, at_least_one, chosen_kind
from zoovet.cli.clock import clock
from zoovet.cli.keeping import AGAIN, saying_what_is_kept
from zoovet.cli.runners import add_ray, cluster_of
from zoovet.cli.status import EXIT_OK

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from zoovet.benchmark import BenchmarkConfig
    from zoovet.benchmark.strangers import StrangerBenchmarkConfig

__all__ = ["DESCRIPTION", "TAKES_OVERRIDES", "add_arguments", "config_classes", "run"]

DESCRIPTION = """
Compare detectors and repairers, ours and rivals', on networks held out. CONFIG says which kind of benchmark:

  kind: trojan      detectors that read weights, and repairers, on the test networks of trojan zoos: by family
                    of attacks, on families left out of training, with fewer training bases, on another dataset's
                    networks, and by what repair does. So too where CONFIG says no kind.
  kind: strangers   the detector for strangers on a park's networks, one image set, architecture family, recipe
                    or attack at a time left out of its training, beside tests of single networks on the same
                    images; with other numbers of images, or unlabelled ones.

  zoovet bench configs/bench/trojan.yaml --out runs/bench --workers 2
  zoovet bench configs/bench/trojan.yaml --out runs/bench --parts '[seen, repair]' --seeds '[0]'
  zoovet bench configs/bench/strangers.yaml --zoo zoos/park --out runs/strangers-bench --workers 2
  zoovet bench configs/bench/strangers.yaml --zoo zoos/park --out runs/look --left_out '[dataset]' --rivals '[]'

Writes into --out: benchmark.html and benchmark.md (tables, plots), results.json (figures), and for every trial the
scores or figures network by network as Parquet. A trial is whole or not there: a benchmark that was interrupted goes on
where it was, and so does one that is given more seeds, detectors, parts, rivals or efforts. --tables-only writes the
tables of what is there. With --ray, the folder and the zoos must lie on a disk that all machines of the cluster see.

Time: hours for all parts, three seeds and two zoos of 3,000 bases on two cores; for strangers seconds to minutes a
network for evidence, as long again for rivals, and a minute a kind left out. A line a trial says how far it is.
"""

TAKES_OVERRIDES = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare positional arguments and options."""
    parser.add_argument("config", type=Path, metavar="CONFIG", help="benchmark, a YAML file")
    parser.add_argument("--out", type=Path, required=True, metavar="BENCH", help="folder of the benchmark")
    parser.add_argument("--tables-only", action="store_true", help="run nothing; write the tables of what is there")
    parser.add_argument("--workers", type=at_least_one, metavar="N", help="processes of one thread each; default 1")
    add_ray(parser, "trials are done")
    add_data_root(parser)


def config_classes() -> dict[str, type[DataclassInstance]]:
    """Keys of every kind of benchmark."""
    kinds = {kind: kind_of.config for kind, kind_of in _kinds().items()}
    return {f"keys where kind is {kind}, in CONFIG or on the command line": config for kind, config in kinds.items()}


def run(arguments: argparse.Namespace) -> int:
    """Run what is missing, and write the tables."""
    from zoovet.config import read_config, read_yaml

    kinds, values = _kinds(), read_yaml(arguments.config)
    kind = kinds[chosen_kind({"kind": "trojan", **values}, arguments.overrides, "kind", list(kinds), arguments.config)]
    config = read_config(kind.config, values, arguments.overrides, where=str(arguments.config))
    console, started = Console(stderr=True), time.monotonic()

    def tell(text: str) -> None:
        console.print(f"{clock(time.monotonic() - started)}  {text}", highlight=False, markup=False, soft_wrap=True)

    with saying_what_is_kept(arguments.out, lambda: f"what is done is kept in {arguments.out}; {AGAIN}"):
        if not arguments.tables_only:
            workers, cluster = arguments.workers or 1, cluster_of(arguments, workers=arguments.workers)
            data_root = arguments.data_root
            kind.run(config, arguments.out, data_root=data_root, tell=tell, workers=workers, runner=cluster)
        text = kind.write(config, arguments.out, shlex.join(["zoovet", *sys.argv[1:]]), arguments.data_root)
    print(text)
    print(arguments.out / "benchmark.html")
    return EXIT_OK


@dataclass(frozen=True)
class _Kind:
    """A kind of benchmark.

    Attributes:
        config: Its keys.
        run: Does what is missing.
        write: Writes the tables of what is there, and returns them as Markdown.
    """

    config: type[Any]
    run: Callable[..., None]
    write: Callable[[Any, Path, str, Path | None], str]


def _kinds() -> dict[str, _Kind]:
    from zoovet.benchmark import BenchmarkConfig, run_benchmark
    from zoovet.benchmark.strangers import StrangerBenchmarkConfig, run_stranger_benchmark

    return {
        "trojan": _Kind(BenchmarkConfig, run_benchmark, _write_trojan),
        "strangers": _Kind(StrangerBenchmarkConfig, run_stranger_benchmark, _write_strangers),
    }


def _write_trojan(config: BenchmarkConfig, out: Path, command: str, data_root: Path | None) -> str:
    from zoovet.benchmark.page import write_benchmark
    from zoovet.benchmark.tables import Bench
    from zoovet.zoo import Zoo

    zoos = {path.name: Zoo.open(path, verify=True) for path in config.zoos}
    return write_benchmark(Bench(config, out, zoos), command, data_root)


def _write_strangers(config: StrangerBenchmarkConfig, out: Path, command: str, data_root: Path | None) -> str:
    from zoovet.benchmark.strangers import StrangerResults, opened_park, write_stranger_benchmark

    return write_stranger_benchmark(StrangerResults.read(config, out, opened_park(config)), command)
