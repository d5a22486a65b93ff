"""Jobs: pure ones, done in this process, in others, or on a Ray cluster, behind one small protocol."""

from zoovet.jobs.inline import Inline
from zoovet.jobs.process_workers import Processes
from zoovet.jobs.ray_workers import RayCluster
from zoovet.jobs.runner import MAX_DEATHS, Crew, Done, Lost, Runner, Tell, Work, no_others, results, tell_nobody

__all__ = [
    "MAX_DEATHS",
    "Crew",
    "Done",
    "Inline",
    "Lost",
    "Processes",
    "RayCluster",
    "Runner",
    "Tell",
    "Work",
    "no_others",
    "results",
    "tell_nobody",
]
