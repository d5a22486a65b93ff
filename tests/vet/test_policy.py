from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from zoovet import Verdict, ZoovetError
from zoovet.vet import Allowance, Judged, Policy, judged, read_policy
from zoovet.vet.verdicts import no_verdict

DIGEST = "0123456789abcdef" * 4
ALLOW = f"""
[[allow]]
digest = "{DIGEST}"
reason = "a known false alarm, security team"
expires = 2027-01-31
"""


@pytest.fixture
def unknown() -> Verdict:
    return replace(no_verdict("nobody knows it", "a.onnx", None, ()), digest=DIGEST)


@pytest.fixture
def write(tmp_path: Path):
    def written(text: str) -> Path:
        (tmp_path / "zoovet.toml").write_text(text, encoding="utf-8")
        return tmp_path / "zoovet.toml"

    return written


def test_a_policy_is_read_with_its_days_written_either_way(write) -> None:
    allowance = Allowance(digest=DIGEST, reason="a known false alarm, security team", expires=date(2027, 1, 31))
    text = 'false_alarms = 0.05\neffort = "thorough"\nunknown = "pass"\n' + ALLOW
    expected = Policy(false_alarms=0.05, effort="thorough", unknown="pass", allow=(allowance,))
    assert read_policy(write(text)) == expected
    assert read_policy(write(text.replace("2027-01-31", '"2027-01-31"'))) == expected
    assert read_policy(write("")) == Policy()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("treshold = 1", "zoovet.toml: unknown key 'treshold'; did you mean 'threshold'?"),
        ("threshold = 2", "threshold must be from 0 to 1, got 2"),
        ("false_alarms = 0", "false_alarms must be above 0 and below 1, got 0"),
        ("threshold = 0.5\nfalse_alarms = 0.1", "both set the threshold: leave one of them out"),
        ('unknown = "skip"', "'unknown' must be fail or pass, got 'skip'"),
        ("threshold = ", "zoovet.toml cannot be read as TOML: "),
        ("allow = 3", "'allow' must be a list"),
        (ALLOW.replace(DIGEST, "ab"), "allow[0]: digest must be 64 hexadecimal digits in lower case, got 'ab'"),
        (ALLOW.replace("2027-01-31", '"soon"'), "'allow[0].expires' must be a day, as 2027-01-31, got 'soon'"),
        (
            ALLOW.replace("2027-01-31", "2027-01-31T10:00:00"),
            "'allow[0].expires' must be a day, as 2027-01-31, got datetime",
        ),
        (ALLOW.replace("expires = 2027-01-31", ""), "'allow[0].expires' is missing; it takes a day, as 2027-01-31"),
        (ALLOW.replace("a known false alarm, security team", " "), "allow[0]: reason must say why"),
        (ALLOW.replace("expires", "until"), "unknown key 'allow[0].until'"),
        (ALLOW + ALLOW, f"allow holds the digest {DIGEST} twice"),
    ],
)
def test_a_policy_that_does_not_fit_is_one_line(write, text: str, said: str) -> None:
    with pytest.raises(ZoovetError) as caught:
        read_policy(write(text))
    assert said in str(caught.value)


def test_an_allowance_holds_to_its_last_day_and_is_named_afterwards(write, unknown: Verdict) -> None:
    policy = read_policy(write(ALLOW))
    (allowance,) = policy.allow
    assert judged([unknown], policy, date(2027, 1, 31)) == [Judged(verdict=unknown, passes=True, allowance=allowance)]
    assert judged([unknown], policy, date(2027, 2, 1)) == [Judged(verdict=unknown, passes=False, expired=allowance)]
    other = replace(unknown, digest="f" * 64)
    assert judged([other], policy, date(2027, 1, 31)) == [Judged(verdict=other, passes=False)]


def test_unknown_networks_pass_where_the_policy_says_so_and_trojaned_ones_do_not(unknown: Verdict) -> None:
    trojaned, healthy = replace(unknown, verdict="trojaned"), replace(unknown, verdict="healthy")
    verdicts, today = [unknown, trojaned, healthy], date(2027, 1, 1)
    assert [one.passes for one in judged(verdicts, Policy(), today)] == [False, False, True]
    assert [one.passes for one in judged(verdicts, Policy(unknown="pass"), today)] == [True, False, True]
