from __future__ import annotations

import json

import pytest

from zoovet.errors import ZoovetError
from zoovet.evaluation.figures import headline_figures, write_figures
from zoovet.evaluation.measured import Measured
from zoovet.evaluation.results_json import main, merge_results, results_of


@pytest.fixture
def report(tmp_path):
    def write(name, measured, command):
        figures = headline_figures(measured, seed=0, wall_time_seconds=1, commands=(command,), num_resamples=5)
        (tmp_path / name).mkdir()
        write_figures(tmp_path / name / "figures.json", figures)
        return tmp_path / name

    return write


def test_reports_become_blocks(report, classification, editing, generalization):
    inrs = report("inrs", Measured(classification=classification, editing=editing), "zoovet evaluate inrs")
    other = report("other", Measured(generalization=generalization), "zoovet evaluate other")
    assert results_of([inrs, other]) == {
        "inr_classification": {
            "scalegmn": 0.75,
            "permutation": 0.5,
            "num_test": 8,
            "command": "zoovet evaluate inrs",
        },
        "inr_editing": {
            "scalegmn": 0.01,
            "permutation": 0.03,
            "nothing": 0.04,
            "num_test": 4,
            "command": "zoovet evaluate inrs",
        },
        "generalization": {
            "scalegmn": 1.0,
            "statnn": 0.733333,
            "num_test": 6,
            "command": "zoovet evaluate other",
        },
    }


def test_parts_of_a_comparison_are_joined_and_must_agree(report, tmp_path, classification):
    first = report("first", Measured(classification=classification), "one")
    second = report("second", Measured(classification=classification), "two")
    figures = json.loads((second / "figures.json").read_text())
    models = figures["inr_classification"]["models"]
    models["mlp"] = models.pop("permutation")
    write_figures(second / "figures.json", figures)
    block = results_of([first, second])["inr_classification"]
    assert list(block) == ["scalegmn", "permutation", "mlp", "num_test", "command"]
    assert block["command"] == "one && two"
    models["scalegmn"]["accuracy"] = 0.125
    write_figures(second / "figures.json", figures)
    with pytest.raises(ZoovetError, match=r"second has 0\.125 as scalegmn of inr_classification, another report 0.75"):
        results_of([first, second])


def test_other_blocks_of_the_file_stay(report, tmp_path, editing):
    path = tmp_path / "docs" / "results.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"trojan": {"auc": 1.0}, "inr_editing": {"mlp": 9.0}}))
    main([str(report("edit", Measured(editing=editing), "x")), "--out", str(path)])
    content = json.loads(path.read_text())
    assert content["trojan"] == {"auc": 1.0}
    assert set(content["inr_editing"]) == {"scalegmn", "permutation", "nothing", "num_test", "command"}
    assert list(path.parent.iterdir()) == [path]


def test_what_holds_no_figures_is_refused(report, tmp_path, detection, capsys):
    with pytest.raises(ZoovetError, match=r"none/figures\.json does not exist; give a folder that `zoovet evaluate`"):
        results_of([tmp_path / "none"])
    trojans = report("trojans", Measured(detection=detection), "x")
    with pytest.raises(ZoovetError, match="has none of the blocks inr_classification, inr_editing, generalization"):
        results_of([trojans])
    (trojans / "figures.json").write_text('{"inr_editing": {"models": 3}}')
    with pytest.raises(ZoovetError, match="is not as zoovet writes it"):
        results_of([trojans])
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(ZoovetError, match=r"list\.json must hold a JSON object, got a list"):
        merge_results(tmp_path / "list.json", {})
    (tmp_path / "text.json").write_text("no JSON")
    with pytest.raises(ZoovetError, match=r"text\.json cannot be read"):
        merge_results(tmp_path / "text.json", {})
    with pytest.raises(SystemExit) as ended:
        main([str(tmp_path / "none"), "--out", str(tmp_path / "results.json")])
    assert ended.value.code == 2
    assert "does not exist" in capsys.readouterr().err
    assert not (tmp_path / "results.json").exists()
