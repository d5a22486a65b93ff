"""TensorFlow Lite's operators: their names by number, and the settings of those that are read."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["CUSTOM", "OPERATORS", "SETTINGS", "Setting"]

OPERATORS = (
    *("ADD", "AVERAGE_POOL_2D", "CONCATENATION", "CONV_2D", "DEPTHWISE_CONV_2D", "DEPTH_TO_SPACE", "DEQUANTIZE"),
    *("EMBEDDING_LOOKUP", "FLOOR", "FULLY_CONNECTED", "HASHTABLE_LOOKUP", "L2_NORMALIZATION", "L2_POOL_2D"),
    *("LOCAL_RESPONSE_NORMALIZATION", "LOGISTIC", "LSH_PROJECTION", "LSTM", "MAX_POOL_2D", "MUL", "RELU"),
    *("RELU_N1_TO_1", "RELU6", "RESHAPE", "RESIZE_BILINEAR", "RNN", "SOFTMAX", "SPACE_TO_DEPTH", "SVDF", "TANH"),
    *("CONCAT_EMBEDDINGS", "SKIP_GRAM", "CALL", "CUSTOM", "EMBEDDING_LOOKUP_SPARSE", "PAD"),
    *("UNIDIRECTIONAL_SEQUENCE_RNN", "GATHER", "BATCH_TO_SPACE_ND", "SPACE_TO_BATCH_ND", "TRANSPOSE", "MEAN", "SUB"),
    *("DIV", "SQUEEZE", "UNIDIRECTIONAL_SEQUENCE_LSTM", "STRIDED_SLICE", "BIDIRECTIONAL_SEQUENCE_RNN", "EXP"),
    *("TOPK_V2", "SPLIT", "LOG_SOFTMAX", "DELEGATE", "BIDIRECTIONAL_SEQUENCE_LSTM", "CAST", "PRELU", "MAXIMUM"),
    *("ARG_MAX", "MINIMUM", "LESS", "NEG", "PADV2", "GREATER", "GREATER_EQUAL", "LESS_EQUAL", "SELECT", "SLICE"),
    *("SIN", "TRANSPOSE_CONV", "SPARSE_TO_DENSE", "TILE", "EXPAND_DIMS", "EQUAL", "NOT_EQUAL", "LOG", "SUM", "SQRT"),
    *("RSQRT", "SHAPE", "POW", "ARG_MIN", "FAKE_QUANT", "REDUCE_PROD", "REDUCE_MAX", "PACK", "LOGICAL_OR", "ONE_HOT"),
    *("LOGICAL_AND", "LOGICAL_NOT", "UNPACK", "REDUCE_MIN", "FLOOR_DIV", "REDUCE_ANY", "SQUARE", "ZEROS_LIKE"),
    *("FILL", "FLOOR_MOD", "RANGE", "RESIZE_NEAREST_NEIGHBOR", "LEAKY_RELU", "SQUARED_DIFFERENCE", "MIRROR_PAD"),
    *("ABS", "SPLIT_V", "UNIQUE", "CEIL", "REVERSE_V2", "ADD_N", "GATHER_ND", "COS", "WHERE", "RANK", "ELU"),
    *("REVERSE_SEQUENCE", "MATRIX_DIAG", "QUANTIZE", "MATRIX_SET_DIAG", "ROUND", "HARD_SWISH", "IF", "WHILE"),
    *("NON_MAX_SUPPRESSION_V4", "NON_MAX_SUPPRESSION_V5", "SCATTER_ND", "SELECT_V2", "DENSIFY", "SEGMENT_SUM"),
    *("BATCH_MATMUL", "PLACEHOLDER_FOR_GREATER_OP_CODES", "CUMSUM", "CALL_ONCE", "BROADCAST_TO", "RFFT2D", "CONV_3D"),
    *("IMAG", "REAL", "COMPLEX_ABS", "HASHTABLE", "HASHTABLE_FIND", "HASHTABLE_IMPORT", "HASHTABLE_SIZE"),
    *("REDUCE_ALL", "CONV_3D_TRANSPOSE", "VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE", "BROADCAST_ARGS"),
    *("RANDOM_STANDARD_NORMAL", "BUCKETIZE", "RANDOM_UNIFORM", "MULTINOMIAL", "GELU", "DYNAMIC_UPDATE_SLICE"),
    *("RELU_0_TO_1", "UNSORTED_SEGMENT_PROD", "UNSORTED_SEGMENT_MAX", "UNSORTED_SEGMENT_SUM", "ATAN2"),
    *("UNSORTED_SEGMENT_MIN", "SIGN", "BITCAST", "BITWISE_XOR", "RIGHT_SHIFT"),
)
"""Names by number; newer ones, as those of StableHLO, have none here."""

CUSTOM = OPERATORS.index("CUSTOM")
"""Number of the operators that have a name of their own."""

Setting = tuple[str, str]
"""Name and layout: of :mod:`struct`, ``*i`` for a list of numbers, ``+i`` for one that is 1 where it is left out."""

_FUSED = (("activation", "b"),)
_STRIDES = (("padding", "b"), ("stride_width", "i"), ("stride_height", "i"))
_DILATIONS = (("dilation_width", "+i"), ("dilation_height", "+i"))
_POOLING = (*_STRIDES, ("filter_width", "i"), ("filter_height", "i"), *_FUSED)
_REDUCER = (("keep_dims", "?"),)
_BLOCK = (("block_size", "i"),)
_RESIZED = (("align_corners", "?"), ("half_pixel_centers", "?"))
_MASKS = tuple((f"{name}_mask", "i") for name in ("begin", "end", "ellipsis", "new_axis", "shrink_axis"))

SETTINGS: Mapping[str, tuple[int, tuple[Setting, ...]]] = MappingProxyType(
    {
        "CONV_2D": (1, (*_STRIDES, *_FUSED, *_DILATIONS)),
        "DEPTHWISE_CONV_2D": (2, (*_STRIDES, ("depth_multiplier", "i"), *_FUSED, *_DILATIONS)),
        "AVERAGE_POOL_2D": (5, _POOLING),
        "MAX_POOL_2D": (5, _POOLING),
        "FULLY_CONNECTED": (8, (*_FUSED, ("weights_format", "b"), ("keep_num_dims", "?"))),
        "SOFTMAX": (9, (("beta", "f"),)),
        "CONCATENATION": (10, (("axis", "i"), *_FUSED)),
        "ADD": (11, _FUSED),
        "LOCAL_RESPONSE_NORMALIZATION": (13, (("radius", "i"), ("bias", "f"), ("alpha", "f"), ("beta", "f"))),
        "RESIZE_BILINEAR": (15, ((("old_height", "i"), ("old_width", "i"), *_RESIZED))),
        "RESHAPE": (17, (("new_shape", "*i"),)),
        "SPACE_TO_DEPTH": (19, _BLOCK),
        "MUL": (21, _FUSED),
        "GATHER": (23, (("axis", "i"), ("batch_dims", "i"))),
        **dict.fromkeys(("MEAN", "SUM", "REDUCE_MAX", "REDUCE_PROD"), (27, _REDUCER)),
        "SUB": (28, _FUSED),
        "DIV": (29, _FUSED),
        "SQUEEZE": (30, (("squeeze_dims", "*i"),)),
        "STRIDED_SLICE": (32, (*_MASKS, ("offset", "?"))),
        "SPLIT": (35, (("num_splits", "i"),)),
        "CAST": (37, (("in_data_type", "b"), ("out_data_type", "b"))),
        "PACK": (59, (("values_count", "i"), ("axis", "i"))),
        "UNPACK": (64, (("num", "i"), ("axis", "i"))),
        "RESIZE_NEAREST_NEIGHBOR": (74, _RESIZED),
        "LEAKY_RELU": (75, (("alpha", "f"),)),
        "MIRROR_PAD": (77, (("mode", "b"),)),
        "DEPTH_TO_SPACE": (94, _BLOCK),
        "BATCH_MATMUL": (101, (("adj_x", "?"), ("adj_y", "?"))),
        "GELU": (116, (("approximate", "?"),)),
    }
)
"""Name of an operator → number of its kind of settings, and these in order; other operators need none that is read."""
