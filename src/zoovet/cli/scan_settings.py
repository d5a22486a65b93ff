"""What ``zoovet scan`` flags and lets pass: options, or a policy in their place."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from zoovet.cli.arguments import add_effort, number
from zoovet.errors import ZoovetError
from zoovet.printable import MAX_PATH_CHARACTERS, printable

if TYPE_CHECKING:
    from zoovet.vet import Judged, Policy

__all__ = ["add_settings", "policy_of", "print_allowances"]

_OPTIONS = {"threshold": "--threshold", "false_alarms": "--false-alarms", "effort": "--effort"}


def add_settings(parser: argparse.ArgumentParser) -> None:
    """``--threshold P``, ``--effort WORD``, ``--false-alarms SHARE``, ``--policy FILE``."""
    parser.add_argument(
        "--threshold", type=_probability, metavar="P", help="flag from this probability on; default the detector's own"
    )
    add_effort(parser, "in networks that only the detector for strangers can tell")
    parser.add_argument(
        "--false-alarms",
        type=_share,
        metavar="SHARE",
        help="share of healthy ones among these that may be called trojaned, which sets their threshold; default 0.01",
    )
    parser.add_argument(
        "--policy",
        type=Path,
        metavar="FILE",
        help="zoovet.toml: these settings, networks that may pass until a day, and whether unknown ones do "
        "(docs/pipelines.md)",
    )


def policy_of(arguments: argparse.Namespace) -> Policy:
    """What the options of :func:`add_settings` say.

    Raises:
        ZoovetError: The policy cannot be read, or the same is said twice.
    """
    from zoovet.vet import Policy, read_policy

    given = {name: value for name in _OPTIONS if (value := getattr(arguments, name)) is not None}
    if {"threshold", "false_alarms"} <= given.keys():
        raise ZoovetError("--threshold and --false-alarms both set the threshold: leave one of them out")
    if arguments.policy is None:
        return Policy(**given)
    policy = read_policy(arguments.policy)
    if given:
        options = " and ".join(_OPTIONS[name] for name in given)
        raise ZoovetError(f"--policy says what is flagged: leave out {options}, or put it into {arguments.policy}")
    return policy


def print_allowances(judged: Sequence[Judged]) -> None:
    """Say on standard error what passes though it is not healthy, and what no longer does."""
    for one in judged:
        name, verdict = one.verdict.file, one.verdict.verdict
        if one.allowance is not None:
            _note(name, f"{verdict}, allowed until {one.allowance.expires}: {one.allowance.reason}")
        elif one.expired is not None:
            _note(name, f"was allowed until {one.expired.expires} ({one.expired.reason}), no longer")
    num_unknown = sum(one.passes and one.allowance is None and one.verdict.verdict == "unknown" for one in judged)
    if num_unknown:
        print(f"note: {num_unknown} unknown, which the policy lets pass", file=sys.stderr)


def _note(file: str, text: str) -> None:
    print(f"note: {printable(file, MAX_PATH_CHARACTERS)}: {printable(text, 400)}", file=sys.stderr)


def _share(text: str) -> float:
    return number(text, lambda value: 0 < value < 1, "a number above 0 and below 1")


def _probability(text: str) -> float:
    return number(text, lambda value: 0 <= value <= 1, "a number from 0 to 1")
