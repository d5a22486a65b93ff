"""The many-network trainer's compiled core: C source, compiled for each spec at first use."""

from zoovet.zoo.native.compiler import NativeNetwork, NativeUnavailable, compile_spec

__all__ = ["NativeNetwork", "NativeUnavailable", "compile_spec"]
