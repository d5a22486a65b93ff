"""What a detector for strangers has to be: a reader that is one is taken, as the types say."""

from __future__ import annotations

from typing import Any

from zoovet.cli import scan
from zoovet.cli.arguments import VerbParser, parse_verb
from zoovet.vet import EFFORTS, StrangerReader


def test_the_tests_reader_is_one_and_knows_every_effort(stranger_reader: Any) -> None:
    reader: StrangerReader = stranger_reader
    counts = [reader.evidence_config(effort).num_places for effort in EFFORTS]
    assert counts == sorted(counts)
    blind = reader.without_images
    assert blind is not None
    assert reader.threshold(0.01, "normal", 10) != blind.threshold(0.01, "normal", 10)


def test_the_command_line_takes_the_same_efforts() -> None:
    for effort in EFFORTS:
        assert parse_verb(VerbParser("scan", scan), ["a.pt", "--effort", effort]).effort == effort
