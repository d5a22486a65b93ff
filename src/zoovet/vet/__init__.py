"""Vetting networks from elsewhere: who knows them, verdicts on many files, repairs. No argparse, no printing."""

from __future__ import annotations

from zoovet.vet.candidates import Candidate, candidates_for, shipped_candidates
from zoovet.vet.comparison import AnswerChange, Comparison, TensorChange, compare_files
from zoovet.vet.failures import Failure, failure_of
from zoovet.vet.file_result import FileResult
from zoovet.vet.found_trigger import Example, FoundTrigger
from zoovet.vet.healed_files import HealedFile, write_healed
from zoovet.vet.healed_network import HealedNetwork
from zoovet.vet.network import Network
from zoovet.vet.policy import Allowance, Judged, Policy, judged, read_policy
from zoovet.vet.reading import from_module, read
from zoovet.vet.repaired_files import require_output_name, write_repaired
from zoovet.vet.repairer import RepairedFile, Repairer
from zoovet.vet.runnable_network import runnable
from zoovet.vet.scaling_notes import assumed_scaling_note, notes_on_images
from zoovet.vet.scan_cache import ScanCache, open_scan_cache, scan_identity
from zoovet.vet.scanner import Scanner, ScanProgress
from zoovet.vet.stranger_healer import Healing
from zoovet.vet.stranger_reader import (
    EFFORTS,
    StrangerReader,
    StrangerReading,
    shipped_stranger_reader,
)
from zoovet.vet.suspect_channels import SuspectChannel
from zoovet.vet.suspects import ReadOptions, Suspects, load_suspects
from zoovet.vet.verdicts import Verdict
from zoovet.vet.weights_digest import weights_digest

__all__ = [
    "EFFORTS",
    "Allowance",
    "AnswerChange",
    "Candidate",
    "Comparison",
    "Example",
    "Failure",
    "FileResult",
    "FoundTrigger",
    "HealedFile",
    "HealedNetwork",
    "Healing",
    "Judged",
    "Network",
    "Policy",
    "ReadOptions",
    "RepairedFile",
    "Repairer",
    "ScanCache",
    "ScanProgress",
    "Scanner",
    "StrangerReader",
    "StrangerReading",
    "SuspectChannel",
    "Suspects",
    "TensorChange",
    "Verdict",
    "assumed_scaling_note",
    "candidates_for",
    "compare_files",
    "failure_of",
    "from_module",
    "judged",
    "load_suspects",
    "notes_on_images",
    "open_scan_cache",
    "read",
    "read_policy",
    "require_output_name",
    "runnable",
    "scan_identity",
    "shipped_candidates",
    "shipped_stranger_reader",
    "weights_digest",
    "write_healed",
    "write_repaired",
]
