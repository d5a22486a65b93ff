from __future__ import annotations

import base64
import io
import re
from collections import Counter
from dataclasses import replace

import matplotlib
import numpy as np
import pytest
from PIL import Image

from zoovet.errors import ZoovetError
from zoovet.evaluation.figures import headline_figures
from zoovet.evaluation.measured import Measured
from zoovet.evaluation.report import write_report
from zoovet.evaluation.report.pictures import png_data


@pytest.fixture(scope="module")
def write(tmp_path_factory, figures, zoo_summary, detection, repair, examples, provenance):
    folder = tmp_path_factory.mktemp("report")

    def write_page(**changes):
        parts = {"figures": figures, "zoo": zoo_summary, "provenance": provenance}
        measured = {"detection": detection, "repair": repair, "examples": examples}
        for name, value in changes.items():
            (parts if name in parts else measured)[name] = value
        write_report(folder / "report.html", measured=Measured(**measured), **parts)
        return (folder / "report.html").read_text()

    return write_page


@pytest.fixture(scope="module")
def html(write):
    return write()


def test_the_page_says_the_figures_and_what_they_rest_on(html, read_page):
    text = read_page(html).text
    assert "On 8 networks (4 trojaned, 4 healthy) from 4 bases" in text
    assert "AUC of 0.938" in text
    assert "(StatNN) reach 0.750" in text
    assert "attack success rate of 4 trojaned networks from 0.800 to 0.100" in text
    assert "clean accuracy from 0.750 to 0.730" in text
    assert "10,000 test images" in text
    assert "7 min 5 s on 2 CPU cores" in text
    assert "20 networks on fashion-mnist from 10 bases" in text
    assert "zoovet evaluate runs/detector runs/repairer --out runs/report" in text


def test_the_page_is_the_same_whatever_matplotlib_is_set_to(html, write):
    settings = {"lines.linewidth": 17, "axes.prop_cycle": matplotlib.cycler(color=["red"]), "text.usetex": True}
    with matplotlib.rc_context({**settings, "font.family": "monospace", "axes.linewidth": 9, "xtick.top": True}):
        assert write() == html
        assert matplotlib.rcParams["lines.linewidth"] == 17


def test_the_page_loads_nothing(html, read_page):
    page = read_page(html)
    assert "://" not in html
    assert "@import" not in html
    assert page.tags["script"] == 0
    assert all(link.startswith(("#", "data:")) for link in page.links)
    assert not re.search(r"url\((?!#)", html)


def test_identifiers_are_unique_and_references_hit(html, read_page):
    page = read_page(html)
    assert [name for name, count in Counter(page.ids).items() if count > 1] == []
    assert page.references
    assert set(page.references) <= set(page.ids)
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)


def test_plots_follow_the_theme(html):
    assert not re.search(r"#0102\w\w", html)
    for role in ("ink", "grid", "healthy", "trojaned", "detector", "rival"):
        assert re.search(rf"(fill|stroke): var\(--{role}\)", html)
        assert html.count(f"--{role}:") == 2, "a light and a dark colour"


def test_a_page_made_again_is_the_same_and_leaves_matplotlib_alone(write, html):
    before = dict(matplotlib.rcParams)
    assert write() == html
    assert dict(matplotlib.rcParams) == before


def test_names_cannot_smuggle_markup_in(write, detection, repair, examples, provenance, read_page):
    evil = '<script>alert("$x^2$")</script>'
    names = (*detection.network_ids[:3], evil, *detection.network_ids[4:])
    html = write(
        detection=replace(detection, network_ids=names),
        repair=replace(repair, network_ids=names),
        examples=[replace(examples[0], network_id=evil, class_names=(evil,) * 10)],
        provenance=replace(provenance, commands=(evil,), notes=(evil,)),
    )
    page = read_page(html)
    assert page.tags["script"] == 0
    assert "<script" not in html
    assert page.text.count(evil) > 10
    assert evil in "".join(page.texts), "the channel map names networks, too"


@pytest.mark.parametrize("part", ["zoo", "detection", "repair", "examples"])
def test_parts_not_evaluated_are_left_out(write, part, figures, read_page):
    sections = {
        "zoo": {"zoo"},
        "detection": {"detection"},
        "repair": {"repair", "edits", "examples"},
        "examples": {"examples"},
    }
    changes = {part: [] if part == "examples" else None}
    if part in figures:
        changes["figures"] = {name: value for name, value in figures.items() if name != part}
    page = read_page(write(**changes))
    present = set(page.ids)
    every = set.union(*sections.values())
    assert present & every == every - sections[part]
    assert {"networks", "made", "words"} <= present
    assert {link[1:] for link in page.links if link.startswith("#")} <= present


def test_what_a_reader_must_know_first_comes_first(write, provenance, read_page):
    first = "cut short: the training of the detector in <runs> did 3 of 9 steps"
    page = read_page(write(provenance=replace(provenance, warnings=[first])))
    body = page.text.split("Report", 1)[-1]
    assert "Cut short: the training of the detector in <runs> did 3 of 9 steps." in body
    assert body.index("Cut short") < body.index("zoovet report", body.index("Cut short"))
    assert "Cut short" not in read_page(write()).text


def test_a_page_about_a_zoo_alone(write, figures, read_page):
    alone = {name: figures[name] for name in ("seed", "wall_time_seconds")}
    page = read_page(write(figures=alone, detection=None, repair=None, examples=[]))
    assert "20 networks on fashion-mnist; nothing was evaluated on them" in page.text
    assert "networks" not in page.ids


def test_a_detector_without_mistakes_and_without_rivals(write, detection, figures, read_page):
    perfect = replace(detection, scores=detection.poisoned.astype(float), rivals={}, rival_thresholds={})
    numbers = {
        **headline_figures(Measured(detection=perfect), seed=0, wall_time_seconds=1, num_resamples=50),
        "repair": figures["repair"],
    }
    text = read_page(write(detection=perfect, figures=numbers)).text
    assert "Nowhere: every trojaned network was flagged and no healthy one." in text
    assert "StatNN's AUC" not in text


def test_mistakes_are_listed(html, read_page):
    text = read_page(html).text
    assert "Missed: trojaned, not flagged 1" in text
    assert "00001-trojaned" in text


def test_figures_of_other_results_are_refused(write, figures):
    with pytest.raises(ZoovetError, match="the figures are not those of the detection results"):
        write(figures={**figures, "detection": {**figures["detection"], "num_networks": 9}})
    with pytest.raises(ZoovetError, match="the figures are not those of the repair results"):
        write(repair=None)


def test_examples_are_pictures_with_verdicts(html, examples, read_page):
    pictures = re.findall(r'src="data:image/png;base64,([^"]*)"', html)
    assert len(pictures) == 4
    first = np.asarray(Image.open(io.BytesIO(base64.b64decode(pictures[0]))))
    np.testing.assert_array_equal(first, examples[0].images[0].clean[0])
    text = read_page(html).text
    assert "before ✓ Coat ▲ Bag after ✓ Coat ✗ Shirt" in text


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 8, 6)])
def test_pictures_are_exact(shape):
    pixels = np.random.default_rng(1).integers(256, size=shape, dtype=np.uint8)
    prefix, data = png_data(pixels).split(",")
    assert prefix == "data:image/png;base64"
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
    np.testing.assert_array_equal(shown, pixels[0] if shape[0] == 1 else np.moveaxis(pixels, 0, -1))


def test_extreme_results_still_make_a_page(write, repair, detection, zoo_summary, figures, read_page):
    """No edit at all, layers that some networks lack, scores that are no probabilities, healthy networks only."""
    lacking = repair.relative_changes * 0
    lacking[:4, 1] = np.nan
    still = replace(repair, relative_changes=lacking, channel_changes=tuple(c * 0 for c in repair.channel_changes))
    numbers = headline_figures(
        Measured(detection=detection, repair=still), seed=0, wall_time_seconds=0.5, num_resamples=50
    )
    wild = replace(detection, scores=detection.scores * 100 - 20)
    read_page(write(repair=still, detection=wild, figures=numbers, zoo=replace(zoo_summary, asr=np.full(20, np.nan))))
    healthy = replace(zoo_summary, poisoned=np.zeros(20, dtype=bool), asr=np.full(20, np.nan))
    alone = {name: figures[name] for name in ("seed", "wall_time_seconds")}
    page = read_page(write(zoo=healthy, figures=alone, detection=None, repair=None, examples=[]))
    assert "20 networks on fashion-mnist; nothing" in page.text


def test_many_rivals_have_their_own_colours(write, detection, figures, read_page):
    rivals = {name: detection.scores + shift for name, shift in (("one", 0.0), ("two", 0.1), ("three", 0.2))}
    many = replace(detection, rivals=rivals, rival_thresholds=dict.fromkeys(rivals, 0.5))
    numbers = {
        **headline_figures(Measured(detection=many), seed=0, wall_time_seconds=1, num_resamples=50),
        "repair": figures["repair"],
    }
    html = write(detection=many, figures=numbers)
    for role in ("rival", "rival-2", "rival-3"):
        assert f"stroke: var(--{role})" in html
    read_page(html)


def test_of_imported_networks_it_is_not_said_how_they_were_made(
    html, write, zoo_summary, detection, figures, read_page
):
    unknown = np.full(20, np.nan)
    imported = replace(
        zoo_summary, kind="imported", clean_accuracy=unknown, asr=unknown, trigger_kinds=np.array([""] * 20)
    )
    page = read_page(write(zoo=imported, detection=replace(detection, asr=np.full(8, np.nan)), figures=figures))
    assert "They were imported." in page.text
    assert "nan" not in page.text.lower().split()
    assert "mean ASR" not in page.text
    for said in ("trained once and then", "The recipe draws a base again"):
        assert said in read_page(html).text
        assert said not in page.text
    park = read_page(write(zoo=replace(zoo_summary, kind="park"))).text
    assert "some attackers begin from random weights" in park
    assert "trained once and then" not in park
