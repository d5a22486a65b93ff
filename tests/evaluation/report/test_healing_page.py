"""What healing did, in lines and as a page."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from zoovet.evaluation.report.healing_lines import healing_lines
from zoovet.evaluation.report.healing_page import write_healing_page
from zoovet.evidence.trigger_families import Changes
from zoovet.healing import CleanLoss, Edit, SoughtTrigger
from zoovet.vet import Healing
from zoovet.vet.verdicts import no_verdict

VERDICT = replace(no_verdict("", "a.pt", None, ()), reason=None, probability=0.97, verdict="trojaned", target=3)


@pytest.fixture
def healing() -> Healing:
    triggers = tuple(
        SoughtTrigger(kind=kind, target=3, family=Changes(0.1), values=torch.zeros(1, 1, 4, 4), flips=1.0, bearable=1.0)
        for kind in ("stripes", "patch")
    )
    edit = Edit(
        weights={},
        change=0.12,
        strength=0.85,
        triggers=triggers,
        flips_before=(0.4, 1.0),
        flips_after=(0.1, 0.05),
        num_held_out=33,
        num_right_before=31,
        num_right_after=30,
        lost=CleanLoss(share=0.01, error=0.005),
    )
    after = replace(VERDICT, verdict="healthy", target=None, probability=0.02)
    changes = {"<conv>.weight": 0.3, "fc.weight": 0.1}
    return Healing(before=VERDICT, after=after, targets=(3,), edit=edit, changes=changes, max_loss=0.01)


def test_lines_say_what_was_measured(healing: Healing) -> None:
    assert healing_lines(healing) == [
        "before: trojaned, probability of a trojan 0.97, towards class 3",
        "accuracy on 33 held-out reference images: 0.94 (0.80 to 0.98) before, 0.91 (0.76 to 0.97) after an edit that "
        "did not learn from them",
        "ASR of the strongest trigger found (patch, towards class 3): 1.00 before, 0.05 after",
        "edit: strength 0.85, the weights changed by 12.0 % of their norm; most: <conv>.weight 30 %, fc.weight 10 %",
        "after: healthy, probability of a trojan 0.02",
        "healed by these measures",
    ]
    made = healing_lines(replace(healing, is_on_made_images=True))
    assert made[1].startswith("accuracy on 33 held-out images that the network made itself: 0.94")
    nothing = replace(healing, before=replace(VERDICT, verdict="healthy", target=None))
    assert healing_lines(nothing)[-1].startswith("edited, though nothing was found before: ")
    failed = replace(healing, after=None, shortcomings=("it costs too much",))
    assert healing_lines(failed)[-1] == "not healed: it costs too much"
    assert not any(line.startswith("edit: ") for line in healing_lines(failed))


def test_the_page_needs_nothing_and_escapes_what_a_file_says(tmp_path: Path, healing: Healing) -> None:
    path = tmp_path / "page.html"
    write_healing_page(path, healing, Path("a<b>.pt"), Path("out.pt"))
    page = path.read_text()
    for words in (">healed</span> a&lt;b&gt;.pt", "&lt;conv&gt;.weight", "Written: out.pt", "0.94 (0.80 to 0.98)"):
        assert words in page
    write_healing_page(path, replace(healing, after=None, shortcomings=("it costs too much",)), Path("a.pt"), None)
    page = path.read_text()
    assert ">not healed</span>" in page
    assert "It costs too much." in page
    assert "Nothing was written" in page
    write_healing_page(path, Healing(before=VERDICT, max_loss=0.01), Path("a.pt"), None)
    assert ">left as it is</span>" in path.read_text()
    nothing = replace(healing, before=replace(VERDICT, verdict="healthy", target=None))
    write_healing_page(path, nothing, Path("a.pt"), Path("out.pt"))
    assert ">edited</span>" in path.read_text()
    assert "Nothing was found before the edit" in path.read_text()
