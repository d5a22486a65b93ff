"""Operators that torch has for speed alone, which traces of attention hold, by what they stand for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from torch import Tensor

from zoovet.readers.torchscript.values import Unset

__all__ = ["FAST_PATHS"]

_Call = Callable[..., Any]
"""Calls one of torch's operators by its name."""


def _attention(
    call: _Call, query: Tensor, key: Tensor, value: Tensor, width: int, heads: int, *given: Any
) -> list[Any]:
    """Self-attention of [N, L, E]: the answer, and no weights.

    Args:
        call: Makes a call.
        query: What attends; key and value are the same.
        key: What is attended to.
        value: What is taken from it.
        width: E.
        heads: Its parts.
        given: Weight and bias of the layer before, of the layer behind, a mask.
    """
    weight, bias, out_weight, out_bias = given[:4]
    if query is not key or key is not value or (len(given) > 4 and given[4] is not None):
        raise TypeError("attends to something else than its own input, or masks it")
    images, length = query.shape[:2]
    parts = call("reshape", call("linear", query, weight, bias), [images, length, 3, heads, width // heads])
    turned = call("permute", parts, [2, 0, 3, 1, 4])
    attended = call("scaled_dot_product_attention", *(call("select", turned, 0, place) for place in range(3)))
    joined = call("reshape", call("transpose", attended, 1, 2), [images, length, width])
    return [call("linear", joined, out_weight, out_bias), Unset("are weights of attention, which are not read")]


def _encoder_layer(call: _Call, source: Tensor, width: int, heads: int, *given: Any) -> Any:
    """A layer of a transformer's encoder: attention and two linear layers, each added to its input.

    Args:
        call: Makes a call.
        source: [N, L, E].
        width: E.
        heads: Of the attention.
        given: Its weights and biases, whether there is a GELU, whether norms come first, their epsilon, weights and
            biases of the norms and of the two layers, a mask.
    """
    own, (uses_gelu, norms_first, eps), parameters = given[:4], given[4:7], given[7:]
    norm1, norm2, (up, up_bias, down, down_bias) = parameters[:2], parameters[2:4], parameters[4:8]
    if len(parameters) > 8 and parameters[8] is not None:
        raise TypeError("masks its input")

    def norm(of: Any, by: Any) -> Any:
        return call("layer_norm", of, [width], *by, eps)

    def attended(of: Any) -> Any:
        return _attention(call, of, of, of, width, heads, *own)[0]

    def fed(of: Any) -> Any:
        return call("linear", call("gelu" if uses_gelu else "relu", call("linear", of, up, up_bias)), down, down_bias)

    if norms_first:
        between = call("add", source, attended(norm(source, norm1)))
        return call("add", between, fed(norm(between, norm2)))
    between = norm(call("add", source, attended(source)), norm1)
    return norm(call("add", between, fed(between)), norm2)


FAST_PATHS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {"_native_multi_head_attention": _attention, "_transformer_encoder_layer_fwd": _encoder_layer}
)
"""By torch's names."""
