"""Pages on comparisons: classification, editing, generalization, and the zoos they are made on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from zoovet.evaluation.edit_examples import EditExample
from zoovet.evaluation.figures import headline_figures
from zoovet.evaluation.measured import Measured
from zoovet.evaluation.report import write_report
from zoovet.evaluation.report.plots.scatter import MOST_DOTS, against
from zoovet.evaluation.zoo_summary import Reconstruction, summarize_zoo


def pixels(shape=(1, 8, 8)):
    return np.random.default_rng(1).integers(256, size=shape, dtype=np.uint8)


@pytest.fixture(scope="module")
def write(tmp_path_factory, provenance, read_page):
    folder = tmp_path_factory.mktemp("compared")

    def write_page(zoo, **parts):
        measured = Measured(**parts)
        figures = headline_figures(measured, seed=0, wall_time_seconds=3, num_resamples=20)
        write_report(folder / "report.html", figures=figures, zoo=zoo, measured=measured, provenance=provenance)
        return read_page((folder / "report.html").read_text())

    return write_page


def test_a_page_on_inrs(write, inr_zoo, classification, editing):
    made = Reconstruction(network_id="00010-0", label="cross", psnr=31.26, image=pixels(), picture=pixels())
    example = EditExample(
        network_id="00001-0",
        source=pixels(),
        before=pixels(),
        target=pixels(),
        after={"scalegmn": pixels(), "permutation": pixels()},
        mse_before=0.04,
        mse_after={"scalegmn": 0.0125, "permutation": 0.03},
    )
    zoo = summarize_zoo(inr_zoo, [made])
    page = write(zoo, classification=classification, editing=editing, edit_examples=[example])
    text = page.text
    assert "What INRs show, told from their weights, and pictures changed by changing weights" in text
    assert "Of 8 networks of 6 images that training never saw, ScaleGMN-B puts 75.0 % into the right one of 3" in text
    assert "permutation only: 50.0 %" in text
    assert "12,345 12 min 34 s" in text
    assert "(dilation) from 0.0400 to 0.0100 ; permutation only: to 0.0300" in text
    assert "25.0 %" in text
    assert "8 INRs of 8 images of digits" in text
    assert "mean PSNR 23.50 dB" in text
    assert "cross 31.3 dB" in text
    assert page.tags["img"] == 2 + 5
    assert "input 0.0400 target ScaleGMN-B 0.0125 permutation only 0.0300" in text
    assert {"zoo", "classification", "editing", "made", "words"} <= set(page.ids)
    assert not {"detection", "repair", "networks"} & set(page.ids)
    assert "trojaned network" not in text


def test_a_page_on_accuracies(write, accuracy_zoo, generalization):
    page = write(summarize_zoo(accuracy_zoo), generalization=generalization)
    text = page.text
    assert "How accurate networks are, told from their weights" in text
    assert "On 6 networks of 3 trainings never seen before, ScaleGMN-B predicts" in text
    assert "with a Kendall's τ of 1.000 ; StatNN: 0.733" in text
    assert "Test accuracies reach from 0.110 to 0.320" in text
    assert "6 networks on digits from 3 trainings" in text
    assert {"zoo", "generalization"} <= set(page.ids)


def test_models_alone_have_no_rivals(write, inr_zoo, classification):
    alone = replace(
        classification,
        models=classification.models[:1],
        predictions={"scalegmn": classification.predictions["scalegmn"]},
    )
    text = write(summarize_zoo(inr_zoo), classification=alone).text
    assert "permutation only 50" not in text
    assert "Diamonds" not in text


def test_a_zoo_without_psnr_or_pictures_still_makes_a_page(write, inr_zoo, classification):
    unknown = replace(summarize_zoo(inr_zoo), psnr=np.full(8, np.nan))
    assert "mean PSNR" not in write(unknown, classification=classification).text


def test_class_names_cannot_smuggle_markup_in(write, inr_zoo, classification):
    evil = '<script>alert("$x^2$")</script>'
    page = write(summarize_zoo(inr_zoo), classification=replace(classification, class_names=(evil, "b", "c")))
    assert page.tags["script"] == 0
    assert evil in "".join(page.texts)


def test_plots_of_many_networks_stay_small():
    many = np.linspace(0, 1, 50_000)
    svg = against("many", {"relu": (many, many)}, x_label="x", y_label="y", limits=(0, 1))
    assert svg.count("<use") <= MOST_DOTS + 50
    assert "of 50000 networks" in svg
