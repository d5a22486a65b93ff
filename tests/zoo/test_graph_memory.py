"""Sites are kept for a batch only where they must be; gradients share memory when the first are done."""

from __future__ import annotations

from zoovet.zoo.native.graph_memory import kept_sites, shared_gradients, with_cheap_values_recomputed
from zoovet.zoo.native.graph_plan import Place
from zoovet.zoo.native.graph_steps import Barrier, Step

FORWARD = [
    Step("put(V(0));", makes=0),
    Step("conv(V(0), V(1));", makes=1),
    Step("statistics(V(1));", is_of_batch=True),
    Barrier("finish();"),
    Step("norm(V(1), V(2));", makes=2),
    Step("relu(V(2), V(3));", makes=3),
    Step("conv(V(3), V(4));", makes=4),
    Barrier("finish();"),
    Step("loss(V(4), G(4));"),
]
BACKWARD = [
    Step("weights(V(3), G(4));"),
    Step("input(G(4), G(3));"),
    Step("relu_back(V(3), G(3), G(2));"),
    Barrier("finish_back();"),
    Step("norm_back(V(1), G(2), G(1));"),
    Step("weights(V(0), G(1));"),
]
CHEAP = {2: [FORWARD[4]], 3: [FORWARD[5]]}


def test_a_run_keeps_what_a_later_one_reads() -> None:
    assert kept_sites("V", FORWARD) == {1, 4}
    assert kept_sites("V", [*FORWARD, *BACKWARD]) == {0, 1, 3, 4}
    assert kept_sites("G", [*FORWARD, *BACKWARD]) == {2}


def test_norms_and_activations_are_made_again_on_the_way_back() -> None:
    steps = with_cheap_values_recomputed(FORWARD, BACKWARD, CHEAP)
    again = [step.text for step in steps[len(FORWARD) :]][:3]
    assert again == ["norm(V(1), V(2));", "relu(V(2), V(3));", "weights(V(3), G(4));"]
    assert len(steps) == len(FORWARD) + len(BACKWARD) + 2
    assert kept_sites("V", steps) == {0, 1, 4}


def test_what_a_later_run_forward_reads_is_kept() -> None:
    forward = [*FORWARD[:-1], Step("add(V(3), V(4));"), FORWARD[-1]]
    assert with_cheap_values_recomputed(forward, BACKWARD, CHEAP) == [*forward, *BACKWARD]


def test_gradients_take_the_place_of_those_that_are_done() -> None:
    small, large = Place(1, 1, 8, 8, (0, 0, 0, 0), 8), Place(2, 2, 8, 8, (0, 0, 0, 0), 8)
    steps = [*FORWARD, *BACKWARD]
    assert shared_gradients(steps, dict.fromkeys(range(5), small)) == [0, 4, 2, 3, 4]
    assert shared_gradients(steps, {**dict.fromkeys(range(5), small), 4: large}) == [0, 3, 2, 3, 4]
