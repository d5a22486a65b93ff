"""``zoovet bench``: detectors and repairers, ours and rivals', on the same networks with several seeds."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from zoovet.cli.arguments import add_data_root, at_least_one
from zoovet.cli.clock import clock
from zoovet.cli.keeping import AGAIN, saying_what_is_kept
from zoovet.cli.runners import add_ray, cluster_of
from zoovet.cli.status import EXIT_OK

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["DESCRIPTION", "TAKES_OVERRIDES", "add_arguments", "config_classes", "run"]

DESCRIPTION = """
Compare detectors and repairers, ours and rivals', on the test networks of trojan zoos: by family of attacks, on
families left out of training, with fewer training bases, on another dataset's networks, and by what repair does.

  zoovet bench configs/bench/trojan.yaml --out runs/bench --workers 2
  zoovet bench configs/bench/trojan.yaml --out runs/bench --parts '[seen, repair]' --seeds '[0]'

Writes into --out: benchmark.html and benchmark.md (tables, plots), results.json (the headline figures), and for every
trial the scores or figures network by network as Parquet. A trial is whole or not there: a benchmark that was
interrupted goes on where it was, and so does one that is given more seeds, detectors or parts. --tables-only writes the
tables of what is there. With --ray, the folder and the zoos must lie on a disk that all machines of the cluster see.

Time: hours for all parts, three seeds and two zoos of 3,000 bases on two cores; a line a trial says how far it is.
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
    """A benchmark's keys."""
    from zoovet.benchmark import BenchmarkConfig

    return {"keys, in CONFIG or on the command line": BenchmarkConfig}


def run(arguments: argparse.Namespace) -> int:
    """Run what is missing, and write the tables."""
    from zoovet.benchmark import BenchmarkConfig, run_benchmark
    from zoovet.benchmark.page import write_benchmark
    from zoovet.benchmark.tables import Bench
    from zoovet.config import read_config
    from zoovet.zoo import Zoo

    config = read_config(BenchmarkConfig, arguments.config, arguments.overrides)
    console, started = Console(stderr=True), time.monotonic()

    def tell(text: str) -> None:
        console.print(f"{clock(time.monotonic() - started)}  {text}", highlight=False, markup=False, soft_wrap=True)

    with saying_what_is_kept(arguments.out, lambda: f"what is done is kept in {arguments.out}; {AGAIN}"):
        if not arguments.tables_only:
            workers, cluster = arguments.workers or 1, cluster_of(arguments, workers=arguments.workers)
            data_root = arguments.data_root
            run_benchmark(config, arguments.out, data_root=data_root, tell=tell, workers=workers, runner=cluster)
        bench = Bench(config, arguments.out, {path.name: Zoo.open(path, verify=True) for path in config.zoos})
        text = write_benchmark(bench, shlex.join(["zoovet", *sys.argv[1:]]), arguments.data_root)
    print(text)
    print(arguments.out / "benchmark.html")
    return EXIT_OK
