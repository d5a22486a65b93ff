"""Whatever can be run answers on images in [-1, 1] as it does on its own: any size, scaling, with a softmax or not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from zoovet.errors import ZoovetError
from zoovet.evidence import Inspectable, Runnable, RunnableGraphs, RunnableModule
from zoovet.evidence.scaled_images import as_signed
from zoovet.networks import GraphBuilder, InputScaling, Networks, small_cnn, values_at

SHAPE = (3, 7, 5)
SCALING = InputScaling(mean=(0.5, 0.4, 0.3), deviation=(0.2, 0.3, 0.4))


class Strange(nn.Module):
    """A classifier with a dropout, which no evaluation may feel, and its own kind of answer."""

    def __init__(self, *, softmax: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.softmax = nn.Linear(105, 4), softmax

    def forward(self, images: Tensor) -> Tensor:
        logits = self.layer(nn.functional.dropout(images.flatten(1), 0.5, self.training))
        return logits.softmax(1) if self.softmax else logits


def pictures(count: int = 6) -> Tensor:
    return torch.randint(0, 256, (count, *SHAPE), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


@pytest.mark.parametrize("softmax", [True, False])
def test_a_module_reads_its_own_scaling_and_answers_logits(softmax: bool) -> None:
    module = Strange(softmax=softmax)
    runnable = RunnableModule(module, SHAPE, SCALING)
    assert module.training
    assert isinstance(runnable, Runnable)
    assert not isinstance(runnable, Inspectable)
    assert (len(runnable), runnable.num_classes, runnable.input_shape) == (1, 4, SHAPE)
    images = as_signed(pictures()).requires_grad_()
    logits = runnable.logits(images)
    expected = module.eval()(SCALING.apply(pictures()))
    expected = expected.log() if softmax else expected
    torch.testing.assert_close(logits[0], expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(runnable[0:1].logits(images[None]), logits)
    logits.sum().backward()
    assert images.grad is not None
    with pytest.raises(ZoovetError, match="there is one network, got the slice"):
        runnable[1:2]


def test_a_graph_answers_what_its_softmax_reads() -> None:
    make = GraphBuilder(SHAPE)
    flat = make.add("flatten", "input")
    roles = {"weight": make.parameter("weight", (4, 105)), "bias": make.parameter("bias", (4,))}
    layer = make.add("linear", flat, parameters=roles)
    graph = make.graph(make.add("softmax", layer, dim=0), SCALING)
    generator = torch.Generator().manual_seed(0)
    networks = Networks(
        graph, {name: torch.randn(2, *shape, generator=generator) for name, shape in graph.shapes.items()}
    )
    runnable = RunnableGraphs(networks)
    assert isinstance(runnable, Inspectable)
    logits = runnable.logits(as_signed(pictures()))
    seen = SCALING.apply(pictures()).flatten(1)
    weight, bias = networks.parameters.values()
    torch.testing.assert_close(logits, torch.einsum("nf,bcf->bnc", seen, weight) + bias[:, None], atol=1e-3, rtol=1e-4)
    gradients = runnable.loss_gradients(as_signed(pictures()), torch.zeros(6, dtype=torch.long))
    share = logits.softmax(2).mean(1) - torch.tensor([1.0, 0, 0, 0])
    torch.testing.assert_close(list(gradients.values())[1], share, atol=1e-4, rtol=1e-4)
    assert list(runnable.site_means(as_signed(pictures()))) == [layer]


def test_what_cannot_be_run_says_why() -> None:
    graph = small_cnn("relu", input_shape=SHAPE, channels=(2,), num_classes=2)
    networks = Networks.from_flat(graph, torch.zeros(2, graph.num_parameters))
    runnable = RunnableGraphs(networks.with_scaling("unit"))
    assert (len(runnable[1:]), runnable.num_classes, runnable.dtype) == (1, 2, torch.float32)
    with pytest.raises(ZoovetError, match="input scaling is not known; give it"):
        RunnableGraphs(networks)
    with pytest.raises(ZoovetError, match="input scaling is not known; give it"):
        RunnableModule(Strange(softmax=False), SHAPE, None)
    with pytest.raises(ZoovetError, match=r"read images \(channels, height, width\), got \(105,\)"):
        RunnableModule(nn.Linear(105, 4), (105,), SCALING)
    with pytest.raises(ZoovetError, match=r"of at least two classes, but this answers \[3, 7, 5\] an image"):
        RunnableModule(nn.Identity(), SHAPE, SCALING)
    with pytest.raises(ZoovetError, match=r"must be uint8, or floating-point numbers in \[-1, 1\]"):
        as_signed(torch.full((1, *SHAPE), 1.5))


def test_layers_and_sums_are_seen_after_the_activation_and_the_pooling_that_alone_read_them() -> None:
    make = GraphBuilder((3, 8, 8))
    sizes = {"weight": (4, 3, 3, 3), "bias": (4,)}
    roles = [{role: make.parameter(f"{name}.{role}", shape) for role, shape in sizes.items()} for name in "abc"]
    first = make.add("conv2d", "input", parameters=roles[0], padding=(1, 1, 1, 1))
    pooled = make.add("max_pool2d", make.add("relu", first), kernel_size=(2, 2))
    second = make.add("conv2d", "input", parameters=roles[1], padding=(1, 1, 1, 1))
    both = make.add("add", make.add("tanh", second), make.add("sigmoid", second))
    make.add("relu", make.add("conv2d", "input", parameters=roles[2]))  # the output does not depend on it
    summed = make.add("avg_pool2d", both, kernel_size=(2, 2))
    joined = make.add("cat", pooled, summed, dim=0)
    graph = make.graph(make.add("mean", joined, dim=(1, 2)), SCALING)
    generator = torch.Generator().manual_seed(0)
    networks = Networks(
        graph, {name: torch.randn(2, *shape, generator=generator) for name, shape in graph.shapes.items()}
    )
    images = torch.randint(0, 256, (5, 3, 8, 8), generator=generator, dtype=torch.uint8)
    means = RunnableGraphs(networks).site_means(as_signed(images))
    assert list(means) == [pooled, second, summed, graph.output]
    held = values_at(networks, SCALING.apply(images), [pooled, second, graph.output])
    for site in (pooled, second):
        torch.testing.assert_close(means[site], held[site].mean((3, 4)), atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(means[graph.output], held[graph.output], atol=1e-3, rtol=1e-3)
