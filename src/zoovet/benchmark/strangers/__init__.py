"""The benchmark of strangers: a park's networks, of kinds that were left out of training, told by us and by rivals."""

from zoovet.benchmark.strangers.config import OtherImages, StrangerBenchmarkConfig
from zoovet.benchmark.strangers.page import write_stranger_benchmark
from zoovet.benchmark.strangers.results import StrangerResults
from zoovet.benchmark.strangers.running import opened_park, run_stranger_benchmark

__all__ = [
    "OtherImages",
    "StrangerBenchmarkConfig",
    "StrangerResults",
    "opened_park",
    "run_stranger_benchmark",
    "write_stranger_benchmark",
]
