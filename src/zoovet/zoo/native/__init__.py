"""The compiled core of training many small networks: C sources, compiled for each spec at first use."""

from zoovet.zoo.native.compiler import NativeNetwork, compile_spec
from zoovet.zoo.native.libraries import NativeUnavailable
from zoovet.zoo.native.siren_fitter import NativeSirenFitter, compile_siren_fitter

__all__ = ["NativeNetwork", "NativeSirenFitter", "NativeUnavailable", "compile_siren_fitter", "compile_spec"]
