"""The released code's configuration block, read into ours. Every key is accounted for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from zoovet.errors import ZoovetError, nearest
from zoovet.metanets.config import ReleasedBehaviour, ScaleGMNConfig
from zoovet.networks.graph import Graph

__all__ = ["Settings", "read_settings"]

Symmetry = Literal["mixed", "scale", "sign", "permutation"]
_SYMMETRIES: dict[str, Symmetry] = {"scale": "scale", "sign": "sign", "hetero": "mixed", "permutation": "permutation"}

_FREE = "free"
_NUMBER = "a number in [0, 1)"
_SIZE = "an integer of at least 1"
_FLAG = "true or false"
_KNOWN: dict[str, Any] = {
    "d_in_v": (1,),
    "d_in_e": (1,),
    "d_hid": _SIZE,
    "num_layers": _SIZE,
    "direction": ("forward", "bidirectional"),
    "equivariant": _FLAG,
    "symmetry": tuple(_SYMMETRIES),
    "readout_range": ("last_layer", "full_graph"),
    "gnn_skip_connections": _FLAG,
    "concat_mlp_directions": (False,),
    "reciprocal": _FREE,
    "node_pos_embed": (True,),
    "edge_pos_embed": _FLAG,
    "_max_kernel_height": _SIZE,
    "_max_kernel_width": _SIZE,
    "layer_layout": _FREE,
    "out_scale": _FREE,
    "graph_init.d_in_v": (1,),
    "graph_init.d_in_e": (1,),
    "graph_init.project_node_feats": (True,),
    "graph_init.project_edge_feats": (True,),
    "graph_init.d_node": "d_hid",
    "graph_init.d_edge": "d_hid",
    "positional_encodings.final_linear_pos_embed": (False,),
    "positional_encodings.sum_pos_enc": (False,),
    "positional_encodings.po_as_different_linear": (False,),
    "positional_encodings.equiv_net": (False,),
    "positional_encodings.sum_on_io": _FLAG,
    "positional_encodings.equiv_on_hidden": (True,),
    "positional_encodings.num_mlps": (3,),
    "positional_encodings.layer_equiv_on_hidden": (False,),
    "gnn_args.d_hid": "d_hid",
    "gnn_args.message_fn_layers": (1,),
    "gnn_args.message_fn_skip_connections": (False,),
    "gnn_args.update_node_feats_fn_layers": (1,),
    "gnn_args.update_node_feats_fn_skip_connections": (False,),
    "gnn_args.update_edge_attr": (True,),
    "gnn_args.dropout": _NUMBER,
    "gnn_args.dropout_all": _FLAG,
    "gnn_args.update_as_act": (False,),
    "gnn_args.update_as_act_arg": ("sum",),
    "gnn_args.mlp_on_io": _FLAG,
    "gnn_args.msg_equiv_on_hidden": (True,),
    "gnn_args.upd_equiv_on_hidden": (True,),
    "gnn_args.layer_msg_equiv_on_hidden": (False,),
    "gnn_args.layer_upd_equiv_on_hidden": (False,),
    "gnn_args.msg_num_mlps": (2, 3),
    "gnn_args.upd_num_mlps": (2, 3),
    "gnn_args.pos_embed_msg": _FLAG,
    "gnn_args.pos_embed_upd": _FLAG,
    "gnn_args.layer_norm": (False,),
    "gnn_args.aggregator": ("add",),
    "gnn_args.sign_symmetrization": _FLAG,
    "mlp_args.d_k": "a list of one integer",
    "mlp_args.activation": ("silu",),
    "mlp_args.dropout": _NUMBER,
    "mlp_args.final_activation": ("identity",),
    "mlp_args.batch_norm": (False,),
    "mlp_args.layer_norm": _FLAG,
    "mlp_args.bias": (True,),
    "mlp_args.skip": (False,),
    "readout_args.d_out": _SIZE,
    "readout_args.d_rho": _SIZE,
}
"""Every key and what it may be: a tuple of allowed values, or a kind of value."""
_OPTIONAL = {"reciprocal", "out_scale", "_max_kernel_height", "_max_kernel_width"}
_OF_READOUT = {"readout_range", "readout_args.d_out", "readout_args.d_rho"}


@dataclass(frozen=True)
class Settings:
    """A released configuration block, read.

    Attributes:
        config: Ours.
        behaviour: What the released code does otherwise.
        layer_layout: Channels of each group of the networks, input and output included.
    """

    config: ScaleGMNConfig
    behaviour: ReleasedBehaviour
    layer_layout: tuple[int, ...]


def read_settings(arguments: Mapping[str, Any], graph: Graph) -> Settings:
    """Read a configuration block.

    Args:
        arguments: The released code's ``scalegmn_args``.
        graph: What the networks are: tells INRs from CNNs, and must fit the block's ``layer_layout``.

    Returns:
        What our model is built from.

    Raises:
        ZoovetError: A key is unknown or missing, or a value is outside what released models use; the message names the
            key, what is expected and what was received.
    """
    values = _flatten(arguments)
    is_equivariant = values.get("equivariant") is True
    for name, value in values.items():
        if is_equivariant and name in _OF_READOUT:
            continue
        _check(name, value, values)
    _require_all(values, is_equivariant)
    layout = _read_layout(values["layer_layout"], graph)
    if not is_equivariant and values["readout_range"] == "full_graph":
        _check_equal("readout_args.d_rho", values["readout_args.d_rho"], values["d_hid"], "with full_graph, d_hid")
    has_convolutions = any(layer.kind == "conv" for layer in graph.chain.layers)
    kernel = (int(values.get("_max_kernel_height", 1)), int(values.get("_max_kernel_width", 1)))
    config = ScaleGMNConfig(
        width=values["d_hid"],
        num_layers=values["num_layers"],
        direction=values["direction"],
        symmetry=_SYMMETRIES[values["symmetry"]],
        output="weights" if is_equivariant else "graph",
        num_outputs=1 if is_equivariant else values["readout_args.d_out"],
        hidden_width=values["mlp_args.d_k"][0],
        layer_norm=values["mlp_args.layer_norm"],
        dropout=values["gnn_args.dropout"],
        mlp_dropout=values["mlp_args.dropout"],
        skip_connections=values["gnn_skip_connections"],
        readout="last_layer" if is_equivariant else values["readout_range"],
        symmetrize=values["gnn_args.sign_symmetrization"],
        mlp_on_io=values["gnn_args.mlp_on_io"],
        num_message_mlps=values["gnn_args.msg_num_mlps"],
        num_update_mlps=values["gnn_args.upd_num_mlps"],
        sum_on_io=values["positional_encodings.sum_on_io"],
        edge_embedding=values["edge_pos_embed"],
        message_embedding=values["gnn_args.pos_embed_msg"],
        update_embedding=values["gnn_args.pos_embed_upd"],
        max_inputs=layout[0],
        max_depth=max(1, len(layout) - 2),
        max_outputs=layout[-1],
        max_kernel=kernel,
    )
    return Settings(config, _behaviour(has_convolutions), layout)


def _behaviour(has_convolutions: bool) -> ReleasedBehaviour:
    """What the released code does otherwise than the mathematics."""
    return ReleasedBehaviour(
        norm_constant=1e-10,
        unit_norm=True,
        input_feature=0.0 if has_convolutions else 1.0,
        forward_edges_backward=True,
        released_output_edges=True,
        one_number_per_edge=True,
        symmetry_from_activation=True,
        branches=("scale", "sign"),
    )


def _flatten(arguments: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(arguments, Mapping):
        raise ZoovetError(f"scalegmn_args must be a mapping, got {type(arguments).__name__}")
    sections = {name.split(".")[0] for name in _KNOWN if "." in name}
    values: dict[str, Any] = {}
    for name, value in arguments.items():
        if name not in sections:
            values[str(name)] = value
        elif isinstance(value, Mapping):
            values |= {f"{name}.{inner}": item for inner, item in value.items()}
        else:
            raise ZoovetError(f"scalegmn_args: {name!r} must be a mapping, got {value!r}")
    return values


def _check(name: str, value: Any, values: Mapping[str, Any]) -> None:
    if name not in _KNOWN:
        raise ZoovetError(f"scalegmn_args: unknown key {name!r}{nearest(name, _KNOWN)}")
    expected = _KNOWN[name]
    is_integer = isinstance(value, int) and not isinstance(value, bool)
    if isinstance(expected, tuple):
        fits = any(value == allowed and isinstance(value, bool) == isinstance(allowed, bool) for allowed in expected)
        described = " or ".join(map(repr, expected))
    elif expected == "d_hid":
        _check_equal(name, value, values.get("d_hid"), "as d_hid")
        return
    else:
        described = expected
        fits = {
            _FREE: True,
            _FLAG: isinstance(value, bool),
            _SIZE: is_integer and value >= 1,
            _NUMBER: (is_integer or isinstance(value, float)) and 0 <= value < 1,
        }.get(expected, isinstance(value, list) and len(value) == 1 and isinstance(value[0], int) and value[0] >= 1)
    if not fits:
        raise ZoovetError(f"scalegmn_args: {name!r} must be {described} in released models, got {value!r}")


def _check_equal(name: str, value: Any, expected: Any, reason: str) -> None:
    if value != expected:
        raise ZoovetError(f"scalegmn_args: {name!r} must be {expected!r} ({reason}), got {value!r}")


def _require_all(values: Mapping[str, Any], is_equivariant: bool) -> None:
    """Every switch that differs between released models must be there; one that never moves may be left out."""
    for name, expected in _KNOWN.items():
        never_moves = isinstance(expected, tuple) and len(expected) == 1
        is_needed = not never_moves and expected != "d_hid" and name not in _OPTIONAL
        if is_needed and name not in values and not (is_equivariant and name in _OF_READOUT):
            raise ZoovetError(f"scalegmn_args: the key {name!r} is missing")


def _read_layout(value: Any, graph: Graph) -> tuple[int, ...]:
    layout = tuple(group.size for group in graph.chain.groups)
    if not isinstance(value, list | tuple) or tuple(value) != layout:
        raise ZoovetError(
            f"scalegmn_args: 'layer_layout' must be {list(layout)}, the channels of {graph.describe()}, got {value!r}"
        )
    return layout
