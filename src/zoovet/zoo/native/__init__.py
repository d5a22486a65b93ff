"""The compiled core of training many small networks: C and CUDA sources, compiled for each spec at first use."""

from zoovet.zoo.native.compiler import NativeNetwork, compile_spec
from zoovet.zoo.native.cuda_trainer import CudaNetworks, CudaTraining, compile_cuda
from zoovet.zoo.native.libraries import NativeUnavailable
from zoovet.zoo.native.siren_fitter import NativeSirenFitter, compile_siren_fitter

__all__ = [
    "CudaNetworks",
    "CudaTraining",
    "NativeNetwork",
    "NativeSirenFitter",
    "NativeUnavailable",
    "compile_cuda",
    "compile_siren_fitter",
    "compile_spec",
]
