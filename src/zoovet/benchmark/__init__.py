"""The trojan benchmark: detectors and repairers, ours and rivals', on the same networks with several seeds."""

from zoovet.benchmark.config import BenchmarkConfig
from zoovet.benchmark.running import run_benchmark
from zoovet.benchmark.tables import Table, benchmark_tables

__all__ = ["BenchmarkConfig", "Table", "benchmark_tables", "run_benchmark"]
