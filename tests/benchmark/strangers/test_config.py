"""What a benchmark of strangers may ask for, and what it is told where it asks for something else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from zoovet.benchmark.strangers import StrangerBenchmarkConfig
from zoovet.config import config_to_dict, read_config, read_yaml
from zoovet.errors import ZoovetError
from zoovet.tasks.strangers.config import StrangerConfig

ROOT = Path(__file__).parents[3]


def test_what_the_repository_holds_is_read_and_measures_what_ships() -> None:
    config = read_config(StrangerBenchmarkConfig, ROOT / "configs" / "bench" / "strangers.yaml")
    assert list(config.by_images) == ["6-labelled", "2-labelled", "6-unlabelled"]
    values = config_to_dict(config.detector)
    training = ROOT / "configs" / "strangers.yaml"
    ships = config_to_dict(read_config(StrangerConfig, _without_task(training)))
    assert values == ships | {"few_classes": []}
    with pytest.raises(ZoovetError, match=r"few_classes must be \[\], as tables are of whole networks, got \[3\]"):
        replace(config, few_classes=(3,))


def _without_task(path: Path) -> dict[str, Any]:
    return {name: value for name, value in read_yaml(path).items() if name != "task"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"rivals": ["neural_cleanze"]},
            "rivals has the unknown entry 'neural_cleanze'; did you mean 'neural_cleanse'",
        ),
        ({"left_out": ["datasets"]}, "left_out has the unknown entry 'datasets'; did you mean 'dataset'"),
        ({"left_out": []}, r"left_out must be different ones of dataset, family, recipe, attack, got \[\]"),
        ({"efforts": ["quick", "quick"]}, "efforts must be different ones of quick, normal, thorough"),
        ({"efforts": ["fast"]}, "efforts has the unknown entry 'fast'"),
        ({"other_images": [{"images_per_class": -1}]}, "images_per_class of other_images must be at least 0, got -1"),
        ({"other_images": [{}, {}]}, "got 2-labelled twice"),
        (
            {"other_images": [{"images_per_clas": 2}]},
            "'other_images.0..images_per_clas'; did you mean 'images_per_class'",
        ),
        ({"images_per_class": 0}, "rivals has 'neural_cleanse', which needs images, but images_per_class is 0"),
        ({"images_per_class": -1}, "images_per_class must be at least 0, got -1"),
        ({"min_asr": 1.5}, r"min_asr must lie in \[0, 1\], got 1.5"),
        ({"rival_effort": "most"}, "rival_effort"),
        ({"zoos": ["a"]}, "unknown key 'zoos'; did you mean 'zoo'"),
    ],
)
def test_what_is_no_benchmark_is_refused_in_one_line(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ZoovetError, match=said) as caught:
        read_config(StrangerBenchmarkConfig, {"zoo": "zoos/park", **given})
    assert "\n" not in str(caught.value)


def test_without_images_only_some_rivals_are_put(tmp_path: Path) -> None:
    given = {"zoo": "park", "images_per_class": 0, "rivals": ["free_eagle", "trojan_signature"]}
    config = read_config(StrangerBenchmarkConfig, given)
    assert list(config.by_images) == ["none"]
    assert config.evidence_place("none", tmp_path) == tmp_path / "evidence" / "none"
