from __future__ import annotations

import json

from zoovet.evaluation.output import write_evaluation
from zoovet.evaluation.results import DetectionResults, RepairResults


def test_an_evaluation_leaves_page_figures_and_tables(tmp_path, detection, repair, zoo_summary, examples, provenance):
    figures = write_evaluation(
        tmp_path,
        zoo=zoo_summary,
        detection=detection,
        repair=repair,
        examples=examples,
        seed=1,
        wall_time_seconds=2.0,
        provenance=provenance,
    )
    names = ["detection.parquet", "figures.json", "repair.parquet", "report.html"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert json.loads((tmp_path / "figures.json").read_text()) == figures
    assert len(DetectionResults.load(tmp_path / "detection.parquet")) == 8
    assert len(RepairResults.load(tmp_path / "repair.parquet")) == 8
    assert f"{figures['repair']['asr_after']:.3f}" in (tmp_path / "report.html").read_text()


def test_parts_not_evaluated_leave_no_table(tmp_path, detection, provenance):
    write_evaluation(
        tmp_path,
        zoo=None,
        detection=detection,
        repair=None,
        examples=[],
        seed=1,
        wall_time_seconds=2.0,
        provenance=provenance,
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["detection.parquet", "figures.json", "report.html"]
