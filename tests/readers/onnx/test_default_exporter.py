"""What torch's default exporter (by torch.export, since 2.9) writes is read back: it has ways of its own."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from zoovet.networks import Networks, run
from zoovet.readers import content_of_bytes

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")

_SHAPE = (3, 8, 8)


class Standardized(nn.Module):
    """Weights are normalized before they are used; ends in a mean over the map that keeps its axes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.gain, self.head = nn.Conv2d(3, 6, 3), nn.Parameter(torch.rand(6) + 0.5), nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        flat = self.conv.weight.reshape(1, 6, -1)
        weight = functional.batch_norm(flat, None, None, weight=self.gain, training=True, momentum=0.0)
        x = functional.conv2d(x, weight.reshape_as(self.conv.weight), self.conv.bias).relu()
        return self.head(x.mean((2, 3), keepdim=True).flatten(1))


class Tokens(nn.Module):
    """A class token, and torch's attention, which takes the axis of tokens first."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.token = nn.Conv2d(3, 12, 4, 4), nn.Parameter(torch.randn(1, 1, 12))
        self.attention, self.norm, self.head = nn.MultiheadAttention(12, 3), nn.LayerNorm(12), nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1).transpose(0, 1)
        return self.head(self.norm(x + self.attention(x, x, x, need_weights=False)[0])[0])


class Placed(nn.Module):
    """Scores of places are raised by a table of how they lie to each other, which a small network makes."""

    index: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.head = nn.Conv2d(3, 6, 4, 4), nn.Linear(6, 5)
        self.table = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1))
        places = torch.cartesian_prod(torch.arange(2), torch.arange(2))
        self.register_buffer("index", (places[:, None] - places[None] + 1) @ torch.tensor([3, 1]))
        self.register_buffer("offsets", torch.cartesian_prod(torch.arange(3.0), torch.arange(3.0)) - 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        scores = x @ x.transpose(1, 2) / 3 + self.table(self.offsets)[:, 0][self.index]
        return self.head((scores.softmax(-1) @ x).mean(1))


class Fitted(nn.Module):
    """Maps that are brought to another size by means over windows that overlap, or by neighbours."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.conv, self.layers, self.head = nn.Conv2d(3, 4, 3), nn.Sequential(*layers), nn.LazyLinear(5)
        self.head(self.layers(self.conv(torch.zeros(1, *_SHAPE))).flatten(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers(self.conv(x)).flatten(1))


MODULES: dict[str, Callable[[], nn.Module]] = {
    "standardized": Standardized,
    "tokens": Tokens,
    "placed": Placed,
    "windows that overlap": lambda: Fitted(nn.AdaptiveAvgPool2d(4)),
    "windows of several sizes": lambda: Fitted(nn.MaxPool2d(3), nn.AdaptiveAvgPool2d(3)),
    "one place for all": lambda: Fitted(nn.AdaptiveAvgPool2d(1), nn.AdaptiveAvgPool2d(3)),
    "one axis": lambda: Fitted(nn.Flatten(2), nn.Conv1d(4, 4, 3, 2, 1, dilation=2)),
    "nothing around it": lambda: Fitted(nn.ConstantPad2d((1, 0, 0, 1), -torch.inf), nn.MaxPool2d(3, 2)),
    "neighbours": lambda: Fitted(nn.Upsample(scale_factor=2), nn.LocalResponseNorm(3, alpha=0.5)),
}
_OF_ANY_NUMBER = [("tokens", None), ("standardized", None), ("windows of several sizes", None)]


def _exported(module: nn.Module, num_images: int | None) -> Networks:
    """Read from the file; for so many images, any number where left out."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own
        logging.disable(logging.WARNING)
        try:
            torch.onnx.export(
                module,
                (torch.zeros(num_images or 2, *_SHAPE),),
                file,
                dynamo=True,
                verbose=False,
                dynamic_shapes=None if num_images else ({0: torch.export.Dim("N")},),
            )
        finally:
            logging.disable(logging.NOTSET)
    graph = content_of_bytes(file.getvalue(), "the ONNX file").graph
    assert graph is not None
    return graph.read(None, None).networks


@pytest.mark.parametrize(("name", "num_images"), [*((name, 1) for name in MODULES), ("tokens", 2), *_OF_ANY_NUMBER])
def test_what_it_exports_is_read_back(name: str, num_images: int | None) -> None:
    torch.manual_seed(0)
    module, images = MODULES[name]().eval(), torch.randn(3, *_SHAPE)
    with torch.no_grad():
        expected = module(images)
    assert float(expected.std(0).min()) > 1e-3
    torch.testing.assert_close(run(_exported(module, num_images), images)[0], expected, rtol=1e-4, atol=1e-5)
