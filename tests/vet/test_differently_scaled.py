"""The shipped detector on networks that were trained on differently scaled images, otherwise alike.

``differently_scaled/`` holds, for each input scaling, a healthy and a trojaned network of two seeds in turn; made by
``python benchmarks/input_scaling.py --seeds 15 18 --keep tests/vet/differently_scaled``.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from zoovet.networks import SCALING_PRESETS, ZOO_SCALING, Networks, rescaled
from zoovet.readers import load_networks
from zoovet.vet import Scanner, Verdict, candidates_for

FOLDER = Path(__file__).parent / "differently_scaled"
TRUE = ["healthy", "trojaned", "healthy", "trojaned"]


@pytest.fixture(scope="module")
def scanner() -> Scanner:
    return Scanner(candidates_for("detector", model="fashion-mnist-small-cnn"))


def networks_of(name: str) -> Networks:
    networks = load_networks(FOLDER / f"{name}.safetensors")
    assert networks.graph.input_scaling == SCALING_PRESETS[name]
    return networks


def words(verdicts: list[Verdict]) -> list[str]:
    return [verdict.verdict for verdict in verdicts]


@pytest.mark.parametrize("name", ["symmetric", "fashion_mnist", "unit"])
def test_networks_of_a_scaling_that_is_said_get_the_verdicts_of_their_siblings(name: str, scanner: Scanner) -> None:
    verdicts = scanner.scan_networks(networks_of(name))
    assert words(verdicts) == TRUE
    assert not any(verdict.scaling_is_assumed for verdict in verdicts)


def test_the_same_function_of_pixels_gets_the_same_verdict_in_either_scaling(scanner: Scanner) -> None:
    networks = networks_of("fashion_mnist")
    ((factor, start),) = rescaled(networks, ZOO_SCALING).graph.input_map
    weight, bias = networks.weights[0], networks.biases[0]  # as for [-1, 1], but at the borders, which are padded by 0
    folded = Networks.from_layers(
        networks.graph.reading(ZOO_SCALING),
        (factor * weight, *networks.weights[1:]),
        (bias + start * weight.sum((2, 3, 4)), *networks.biases[1:]),
    )
    assert words(scanner.scan_networks(folded)) == words(scanner.scan_networks(networks)) == TRUE


def test_where_it_is_not_said_verdicts_are_wrong_and_say_what_was_assumed(scanner: Scanner) -> None:
    verdicts = scanner.scan_networks(networks_of("fashion_mnist")[[1, 3]].with_scaling(None))
    assert words(verdicts) == ["healthy"] * 2
    assert all(verdict.scaling_is_assumed for verdict in verdicts)
    for verdict in scanner.scan_networks(networks_of("unit")[:1].with_scaling(None)):
        assert verdict.verdict == "unknown"
        assert str(verdict.reason).endswith(
            "its input scaling is not known (assumed images scaled to [-1, 1]), which may be the reason"
        )


def test_a_scaling_far_from_the_training_networks_is_a_reason_to_be_unknown(scanner: Scanner) -> None:
    for verdict in scanner.scan_networks(networks_of("unit").with_scaling(SCALING_PRESETS["byte"])):
        assert verdict.verdict == "unknown"
        assert verdict.reason == (
            "unlike the networks that the detector was trained on, which read images scaled far otherwise than its "
            "[0, 255] (byte)"
        )
        assert not verdict.scaling_is_assumed
