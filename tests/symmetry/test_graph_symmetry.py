from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.networks.batch import Networks
from zoovet.networks.graph import INPUT, Graph, Operation, Parameter
from zoovet.networks.ops import VOCABULARY
from zoovet.networks.run import run
from zoovet.symmetry.actions import Action, random_action
from zoovet.symmetry.graph_symmetry import GraphSymmetry, find_symmetry, graph_symmetry
from zoovet.symmetry.laws import LAWS, Law, Step, keeps
from zoovet.symmetry.normal_forms import normal_scales
from zoovet.symmetry.random_graphs import BLOCKS, random_graph
from zoovet.symmetry.random_networks import random_networks
from zoovet.symmetry.ties import POSITIVE, Matrix


def deviation(symmetry: GraphSymmetry, generator: torch.Generator, *, max_log_scale: float = 2.0) -> float:
    """How far random actions of a symmetry move the outputs of random networks, relative to their size."""
    graph = symmetry.graph
    networks = random_networks(graph, 2, generator)
    action = random_action(symmetry, 2, generator, max_log_scale=max_log_scale)
    images = torch.randn(3, *graph.input_shape, generator=generator, dtype=torch.float64)
    before, after = run(networks, images), run(action(networks), images)
    return float((after - before).abs().max() / before.abs().max())


@pytest.mark.parametrize("block", BLOCKS)
def test_actions_keep_the_function_of_every_kind_of_block(block: str) -> None:
    for seed in range(8):
        generator = torch.Generator().manual_seed(seed)
        symmetry = graph_symmetry(random_graph(generator, blocks=(block,)))
        assert deviation(symmetry, generator) < 1e-10
        assert symmetry.moves.any()


@pytest.mark.parametrize("seed", range(40))
def test_actions_keep_the_function_of_mixed_graphs(seed: int) -> None:
    generator = torch.Generator().manual_seed(1000 + seed)
    assert deviation(graph_symmetry(random_graph(generator)), generator) < 1e-10


def without(op: str, **changes: Law) -> Mapping[str, Law]:
    return {**LAWS, **dict.fromkeys([op], changes["law"])}


def _untied_add(step: Step) -> None:
    """Wrong: an addition does tie its inputs."""


def _grouped_without_cells(step: Step) -> None:
    """Wrong: channels of different groups may not be exchanged."""
    use = Matrix(step.operation.parameters["weight"], step.slots(), step.slots(0), step.operation.attributes["groups"])
    step.ties.uses.append(use)
    step.along("bias", 0, step.slots(), (step.slots(), 1))


def _norm_absorbs(step: Step) -> None:
    """Wrong: a layer norm divides by a deviation of all channels together."""
    step.ties.tie(step.slots(0), step.slots(), scaled=False)
    step.along("weight", 0, step.slots(), (step.slots(), 1), (step.slots(0), -1))
    step.along("bias", 0, step.slots(), (step.slots(), 1))


@pytest.mark.parametrize(
    ("block", "laws"),
    [
        ("residual", without("add", law=_untied_add)),
        ("grouped", without("conv2d", law=_grouped_without_cells)),
        ("attention", without("layer_norm", law=_norm_absorbs)),
        ("attention", without("gelu", law=keeps(POSITIVE))),
        ("squeeze", without("mul", law=_untied_add)),
        ("plain", {**LAWS, "tanh": keeps(POSITIVE), "sigmoid": keeps(POSITIVE)}),
        ("pre_activation", without("batch_norm", law=keeps(POSITIVE))),
        ("dense", without("cat", law=_untied_add)),
    ],
)
def test_laws_that_allow_too_much_are_found_out(block: str, laws: Mapping[str, Law]) -> None:
    worst = 0.0
    for seed in range(12):
        generator = torch.Generator().manual_seed(seed)
        worst = max(worst, deviation(find_symmetry(random_graph(generator, blocks=(block,)), laws), generator))
    assert worst > 1e-3


def test_an_operation_without_a_law_fixes_what_it_touches() -> None:
    generator = torch.Generator().manual_seed(0)
    graph = random_graph(generator, blocks=("attention",), num_blocks=1)
    (attention,) = [one for one in graph.operations if one.op == "scaled_dot_product_attention"]
    symmetry = find_symmetry(graph, {op: law for op, law in LAWS.items() if op != "permute"})
    for operation in graph.operations:
        if operation.op == "permute":
            assert symmetry.site_symmetry(operation.inputs[0]) == "fixed"
            assert symmetry.site_symmetry(operation.output) == "fixed"
    assert deviation(symmetry, generator) < 1e-10
    assert graph_symmetry(graph).site_symmetry(attention.output) == "fixed"
    nothing = find_symmetry(graph, {})
    assert nothing.groups == ()
    assert not (nothing.allowed != 0).any()


def test_actions_compose_and_are_undone() -> None:
    for seed in range(10):
        generator = torch.Generator().manual_seed(seed)
        graph = random_graph(generator)
        networks = random_networks(graph, 3, generator)
        first, second = (random_action(graph, 3, generator) for _ in range(2))
        torch.testing.assert_close((second @ first)(networks).flat(), second(first(networks)).flat())
        torch.testing.assert_close(first.inverse()(first(networks)).flat(), networks.flat())
        assert torch.equal(Action.identity(graph, 3)(networks).flat(), networks.flat())


@pytest.mark.parametrize("seed", range(16))
def test_normal_scales_keep_the_function_and_forget_the_scalars(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    graph = random_graph(generator)
    networks = random_networks(graph, 2, generator)
    name = next(name for name, shape in graph.shapes.items() if len(shape) == 4)
    networks.parameters[name][0, 0] = 0.0  # a dead channel
    images = torch.randn(3, *graph.input_shape, generator=generator, dtype=torch.float64)
    normal = normal_scales(networks)
    torch.testing.assert_close(run(normal, images), run(networks, images), rtol=1e-9, atol=1e-10)
    action = random_action(graph, 2, generator)
    sizes = Action(action.symmetry, action.slots, action.scalars.abs())
    alone = Action(action.symmetry, action.slots, torch.ones_like(action.scalars))
    torch.testing.assert_close(normal_scales(sizes(networks)).flat(), alone(normal).flat(), rtol=1e-9, atol=1e-12)


def test_one_tensor_for_two_operations_fixes_what_both_touch() -> None:
    operations = [
        Operation(op="linear", inputs=(INPUT,), output="first", parameters={"weight": "shared"}),
        Operation(op="relu", inputs=("first",), output="active"),
        Operation(op="linear", inputs=("active",), output="second", parameters={"weight": "shared"}),
        Operation(op="linear", inputs=("second",), output="last", parameters={"weight": "last.weight"}),
    ]
    graph = Graph(
        input_shape=(4,),
        parameters=(Parameter(name="shared", shape=(4, 4)), Parameter(name="last.weight", shape=(2, 4))),
        operations=tuple(operations),
        output="last",
    )
    symmetry = graph_symmetry(graph)
    assert {symmetry.site_symmetry(site) for site in graph.sites} == {"fixed"}
    assert "first" in symmetry.describe()
    assert "fixed" in symmetry.describe()


def test_large_graphs_take_moments() -> None:
    generator = torch.Generator().manual_seed(0)
    graph = random_graph(generator, num_blocks=120)
    assert len(graph.operations) > 500
    find_symmetry(graph, LAWS)


def test_actions_and_symmetries_that_do_not_fit_are_refused() -> None:
    generator = torch.Generator().manual_seed(0)
    graph, other = (random_graph(generator) for _ in range(2))
    action = Action.identity(graph, 2)
    with pytest.raises(ZoovetError, match="this action is on 2 networks of the graph"):
        action(random_networks(other, 2, generator))
    with pytest.raises(ZoovetError, match="only actions on the same networks compose"):
        _ = action @ Action.identity(other, 2)
    with pytest.raises(ZoovetError, match="scalars must be finite and not 0"):
        Action(action.symmetry, action.slots, action.scalars * 0)
    with pytest.raises(ZoovetError, match="must be a permutation"):
        Action(action.symmetry, action.slots * 0, action.scalars)
    with pytest.raises(ZoovetError, match="scalars must have the shape"):
        Action(action.symmetry, action.slots, action.scalars[:, 1:])
    with pytest.raises(ZoovetError, match="max_log_scale must not be negative"):
        random_action(graph, 1, generator, max_log_scale=-1)
    with pytest.raises(ZoovetError, match="the block 'resdual' is unknown"):
        random_graph(generator, blocks=("resdual",))


def test_every_law_is_of_an_operation_that_there_is() -> None:
    assert set(LAWS) <= set(VOCABULARY)
    assert set(VOCABULARY) - set(LAWS) == {"matmul", "scaled_dot_product_attention"}


def test_gradients_pass_through_an_action() -> None:
    generator = torch.Generator().manual_seed(3)
    graph = random_graph(generator, blocks=("residual",))
    networks = random_networks(graph, 2, generator)
    flat = networks.flat().requires_grad_()
    action = random_action(graph, 2, generator)
    weights = torch.randn(flat.shape, generator=generator, dtype=torch.float64)
    (action(Networks.from_flat(graph, flat)).flat() * weights).sum().backward()
    assert flat.grad is not None
    assert flat.grad.isfinite().all()
