"""Reading a module's layers in the order in which they run."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from zoovet.errors import ZoovetError
from zoovet.networks.batch import Networks
from zoovet.networks.graph import Graph
from zoovet.networks.input_shape import require_input_shape
from zoovet.networks.layer_spec import LayerSpec, PoolSpec
from zoovet.networks.sine import Sine

__all__ = ["ModuleReader", "require_no_hooks"]

_ACTIVATIONS: dict[type[nn.Module], str] = {
    nn.ReLU: "relu",
    nn.LeakyReLU: "leaky_relu",
    nn.Tanh: "tanh",
    nn.Sigmoid: "sigmoid",
    nn.GELU: "gelu",
    nn.SiLU: "silu",
    Sine: "sine",
}
_INCREASING = ("relu", "leaky_relu", "tanh", "sigmoid")
_WITHOUT_EFFECT = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)


class ModuleReader:
    """Turns modules, added one after another, into a graph and weights.

    Args:
        input_shape: ``(channels, height, width)`` of an image, or ``(features,)``.
    """

    def __init__(self, input_shape: tuple[int, ...]) -> None:
        require_input_shape(input_shape)
        self._input_shape = input_shape
        self._layers: list[LayerSpec] = []
        self._weights: list[Tensor] = []
        self._biases: list[Tensor] = []
        self._is_flat = len(input_shape) == 1
        self._softmax = ""
        self._name = ""
        self._readers: dict[type[nn.Module], Callable[[Any], None]] = {
            nn.Linear: self._linear,
            nn.Conv2d: self._conv,
            nn.BatchNorm1d: self._batch_norm,
            nn.BatchNorm2d: self._batch_norm,
            nn.AvgPool2d: self._average_pool,
            nn.MaxPool2d: self._max_pool,
            nn.AdaptiveAvgPool2d: self._adaptive_pool,
            nn.Flatten: self._flatten,
            nn.Softmax: self._drop_softmax,
            nn.LogSoftmax: self._drop_softmax,
            **dict.fromkeys(_ACTIVATIONS, self._activation),
            **dict.fromkeys(_WITHOUT_EFFECT, lambda module: None),
        }

    def add(self, module: nn.Module, name: str) -> None:
        """Read the next layer, called ``name`` in messages.

        Raises:
            ZoovetError: It has no counterpart in a spec, or does not fit the layers before it.
        """
        self._name = _describe(module, name)
        require_no_hooks(module, name)
        # A subclass may do more than its base: only one that runs its base's code is known.
        known = [kind for kind in self._readers if isinstance(module, kind) and type(module).forward is kind.forward]
        if not known:
            names = ", ".join(sorted(kind.__name__ for kind in self._readers))
            self._refuse(
                f"is not understood. Modules are read where they are nn.Sequential, nested or not, of {names}; "
                "a forward method of one's own cannot be seen through. Put the layers into an nn.Sequential in the "
                "order in which they run"
            )
        if self._softmax and not isinstance(module, (*_WITHOUT_EFFECT, nn.Flatten)):
            self._refuse(f"comes after {self._softmax}; a softmax is dropped at the end only")
        self._readers[known[0]](module)

    def networks(self) -> Networks:
        """What was read, as one network.

        Raises:
            ZoovetError: There was no layer with weights, the output is a flattened map, or dtypes or devices differ.
        """
        if not self._layers:
            raise ZoovetError("the module has no Linear or Conv2d layer, so there is no network to read")
        graph = self._graph()
        if self._is_flat and graph.chain.map_sizes[-1] is not None:
            raise ZoovetError("the module flattens its last map; leave out the Flatten at the end")
        weights = (weight.unsqueeze(0) for weight in self._weights)
        return Networks.from_layers(graph, tuple(weights), tuple(bias.unsqueeze(0) for bias in self._biases))

    def _refuse(self, why: str) -> NoReturn:
        raise ZoovetError(f"{self._name} {why}")

    def _graph(self) -> Graph:
        return Graph.of_layers(input_shape=self._input_shape, layers=tuple(self._layers))

    def _map_size(self) -> tuple[int, int] | None:
        """(height, width) of the map so far; ``None`` where there is none, be it pooled away."""
        if self._layers:
            return self._graph().chain.map_sizes[-1]
        return (self._input_shape[1], self._input_shape[2]) if len(self._input_shape) == 3 else None

    def _num_channels(self) -> int:
        return self._layers[-1].out_channels if self._layers else self._input_shape[0]

    def _linear(self, module: nn.Linear) -> None:
        if not self._is_flat:
            self._refuse("reads a map, of which it would multiply every row alone; put an nn.Flatten() before it")
        kernel = self._map_size() or ()
        channels = self._num_channels()
        incoming = channels * math.prod(kernel)
        if module.in_features != incoming:
            self._refuse(f"reads {module.in_features} features, but {incoming} come in")
        layer = LayerSpec(kind="linear", in_channels=channels, out_channels=module.out_features, kernel=kernel)
        self._append(layer, module)

    def _conv(self, module: nn.Conv2d) -> None:
        size = self._map_size()
        if size is None or self._is_flat:
            self._refuse("needs a map, but what comes in is flat or was pooled to one number a channel")
        if module.in_channels != self._num_channels():
            self._refuse(f"reads {module.in_channels} channels, but {self._num_channels()} come in")
        if module.groups != 1:
            self._refuse(f"has groups={module.groups}; only groups=1 can be described by a spec")
        if module.padding_mode != "zeros":
            self._refuse(f"has padding_mode={module.padding_mode!r}; only 'zeros' can be described by a spec")
        layer = LayerSpec(
            kind="conv",
            in_channels=module.in_channels,
            out_channels=module.out_channels,
            kernel=_pair(module.kernel_size),
            stride=_pair(module.stride),
            padding=self._padding(module),
            dilation=_pair(module.dilation),
        )
        self._append(layer, module)

    def _padding(self, module: nn.Conv2d) -> tuple[int, int]:
        if not isinstance(module.padding, str):
            return _pair(module.padding)
        if module.padding == "valid":
            return (0, 0)
        totals = [module.dilation[axis] * (module.kernel_size[axis] - 1) for axis in (0, 1)]
        if any(total % 2 for total in totals):
            self._refuse("has padding='same' with an even kernel, which pads one side more; use an odd kernel")
        return (totals[0] // 2, totals[1] // 2)

    def _append(self, layer: LayerSpec, module: nn.Linear | nn.Conv2d) -> None:
        self._layers.append(layer)
        try:
            self._graph()
        except ZoovetError as error:
            self._refuse(f"does not fit: {error}")
        weight = module.weight.detach().clone()
        self._weights.append(weight.reshape(layer.weight_shape))
        self._biases.append(
            weight.new_zeros(layer.out_channels) if module.bias is None else module.bias.detach().clone()
        )

    def _last(self) -> LayerSpec:
        if not self._layers:
            self._refuse("comes before the first Linear or Conv2d; a spec has no place for it")
        return self._layers[-1]

    def _batch_norm(self, module: nn.BatchNorm1d | nn.BatchNorm2d) -> None:
        layer = self._last()
        if layer.activation != "identity" or layer.pool is not None:
            follows = "a pooling" if layer.pool is not None else f"the activation {layer.activation!r}"
            self._refuse(
                f"follows {follows}; it can be folded only into a Linear or Conv2d that stands directly before it"
            )
        if module.running_mean is None or module.running_var is None:
            self._refuse("keeps no running statistics, so what it computes depends on the batch")
        positions = math.prod(self._map_size() or ()) if self._is_flat else 1
        if module.num_features != layer.out_channels or positions != 1:
            self._refuse(
                f"normalizes {module.num_features} features, but what comes in are {layer.out_channels} channels of "
                f"{positions} numbers; it can be folded only where it normalizes the channels of the layer before it"
            )
        scale = torch.rsqrt(module.running_var + module.eps)
        if module.weight is not None:
            scale = scale * module.weight.detach()
        weight, bias = self._weights[-1], (self._biases[-1] - module.running_mean) * scale
        self._weights[-1] = weight * scale.view(-1, *[1] * (weight.ndim - 1))
        self._biases[-1] = bias if module.bias is None else bias + module.bias.detach()

    def _activation(self, module: nn.Module) -> None:
        layer = self._last()
        activation = next(name for kind, name in _ACTIVATIONS.items() if isinstance(module, kind))
        parameter = None
        if isinstance(module, nn.LeakyReLU):
            parameter = float(module.negative_slope)
        elif isinstance(module, Sine):
            parameter = module.w0
        elif isinstance(module, nn.GELU) and module.approximate != "none":
            self._refuse(f"has approximate={module.approximate!r}; only the exact GELU can be described by a spec")
        if layer.activation != "identity":
            self._refuse(f"follows the activation {layer.activation!r}; a layer has one activation")
        increasing = activation in _INCREASING and (parameter is None or parameter >= 0)
        if layer.pool is not None and not (layer.pool.kind == "max" and increasing):
            self._refuse(
                f"follows {layer.pool.kind} pooling; a spec's pooling comes after the activation, and only max pooling "
                "and an increasing activation may change places"
            )
        self._layers[-1] = replace(layer, activation=activation, activation_parameter=parameter)

    def _average_pool(self, module: nn.AvgPool2d) -> None:
        if module.divisor_override is not None:
            self._refuse("has a divisor_override; only the mean over the window can be described by a spec")
        padding = _pair(module.padding)
        if not module.count_include_pad and padding != (0, 0):
            self._refuse("has count_include_pad=False; a spec's average counts the padding")
        self._pool("average", module, padding)

    def _max_pool(self, module: nn.MaxPool2d) -> None:
        if _pair(module.dilation) != (1, 1) or module.return_indices:
            self._refuse("has dilation or return_indices, which a spec cannot describe")
        self._pool("max", module, _pair(module.padding))

    def _pool(self, kind: Any, module: nn.AvgPool2d | nn.MaxPool2d, padding: tuple[int, int]) -> None:
        if module.ceil_mode:
            self._refuse("has ceil_mode=True; a spec's windows stay within the map")
        kernel = _pair(module.kernel_size)
        stride = kernel if module.stride is None else _pair(module.stride)
        self._set_pool(PoolSpec(kind=kind, kernel=kernel, stride=stride, padding=padding))

    def _adaptive_pool(self, module: nn.AdaptiveAvgPool2d) -> None:
        if module.output_size not in (1, (1, 1), [1, 1]):
            self._refuse(f"has output_size={module.output_size}; only 1, the mean over the whole map, can be described")
        self._set_pool(PoolSpec(kind="global"))

    def _set_pool(self, pool: PoolSpec) -> None:
        layer = self._last()
        if self._is_flat or self._map_size() is None:
            self._refuse("needs a map, but what comes in is flat or was pooled to one number a channel")
        if layer.pool is not None:
            self._refuse(f"follows {layer.pool.kind} pooling; a layer has one pooling")
        self._layers[-1] = replace(layer, pool=pool)
        try:
            self._graph()
        except ZoovetError as error:
            self._refuse(f"does not fit: {error}")

    def _flatten(self, module: nn.Flatten) -> None:
        if module.start_dim != 1 or module.end_dim not in (-1, 3):
            self._refuse(
                f"has start_dim={module.start_dim}, end_dim={module.end_dim}; only the whole image is flattened (1, -1)"
            )
        self._is_flat = True

    def _drop_softmax(self, module: nn.Softmax | nn.LogSoftmax) -> None:
        self._last()
        if module.dim not in ((None, 1, -1) if self._is_flat else (None, 1)):
            self._refuse(f"has dim={module.dim}; only a softmax over the classes, dim 1, is dropped")
        self._softmax = self._name


def require_no_hooks(module: nn.Module, name: str) -> None:
    """Raise where forward hooks may change what the module computes."""
    if module._forward_hooks or module._forward_pre_hooks:
        raise ZoovetError(
            f"{_describe(module, name)} has forward hooks, which may change what it computes; remove them first"
        )


def _describe(module: nn.Module, name: str) -> str:
    kind = type(module).__name__
    return f"layer {name!r} ({kind})" if name else f"the module ({kind})"


def _pair(value: int | tuple[int, ...]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))
