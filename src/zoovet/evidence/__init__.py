"""Evidence: what is found out about networks by running them. Knows no metanetwork and no zoo."""

from __future__ import annotations

from zoovet.evidence.class_evidence_config import ClassEvidenceConfig
from zoovet.evidence.concurrency import Pace
from zoovet.evidence.evidence import Evidence
from zoovet.evidence.evidence_of_classes import ClassEvidence, class_evidence, synthesized_for
from zoovet.evidence.inversion import Inversion
from zoovet.evidence.inversion_config import InversionConfig
from zoovet.evidence.low_precision import LowPrecision, multiplies_bfloat16
from zoovet.evidence.runnable import Inspectable, Runnable
from zoovet.evidence.runnable_graphs import RunnableGraphs
from zoovet.evidence.runnable_module import RunnableModule

__all__ = [
    "ClassEvidence",
    "ClassEvidenceConfig",
    "Evidence",
    "Inspectable",
    "Inversion",
    "InversionConfig",
    "LowPrecision",
    "Pace",
    "Runnable",
    "RunnableGraphs",
    "RunnableModule",
    "class_evidence",
    "multiplies_bfloat16",
    "synthesized_for",
]
