"""The compiled core of training many small networks: C and CUDA sources, compiled for each graph at first use."""

from zoovet.zoo.native.compiler import NativeNetwork, compile_chain
from zoovet.zoo.native.cuda_trainer import CudaNetworks, CudaTraining, compile_cuda
from zoovet.zoo.native.graph_compiler import NativeGraph, compile_graph
from zoovet.zoo.native.libraries import NativeUnavailable
from zoovet.zoo.native.siren_fitter import NativeSirenFitter, compile_siren_fitter

__all__ = [
    "CudaNetworks",
    "CudaTraining",
    "NativeGraph",
    "NativeNetwork",
    "NativeSirenFitter",
    "NativeUnavailable",
    "compile_chain",
    "compile_cuda",
    "compile_graph",
    "compile_siren_fitter",
]
