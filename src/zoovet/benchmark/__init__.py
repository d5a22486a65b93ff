"""Benchmarks: of detectors and repairers, ours and rivals', on the same networks; below ``strangers``, of strangers."""

from zoovet.benchmark.config import BenchmarkConfig
from zoovet.benchmark.running import run_benchmark
from zoovet.benchmark.table import Table
from zoovet.benchmark.tables import benchmark_tables

__all__ = ["BenchmarkConfig", "Table", "benchmark_tables", "run_benchmark"]
