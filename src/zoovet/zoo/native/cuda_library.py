"""Compile a CUDA source with a network's layers as constants, and launch its kernels on PyTorch's device and stream.

The compiler is NVRTC, through NVIDIA's package ``cuda-bindings``; PyTorch's builds for CUDA come with both. What it
makes is kept beside the compiled C libraries: see :mod:`zoovet.zoo.native.compiled_cache`.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoovet.printable import printable
from zoovet.zoo.native.compiled_cache import compiled
from zoovet.zoo.native.libraries import NativeUnavailable

__all__ = ["CudaLibrary", "load_cuda_library", "shared_memory"]

_HEADER = "constants.h"


def _bindings() -> tuple[Any, Any]:
    """The driver's and the compiler's bindings."""
    try:
        from cuda.bindings import driver, nvrtc

        nvrtc.nvrtcVersion()
    except ImportError as error:
        raise NativeUnavailable(f"the package cuda-bindings cannot be imported ({error}); install it") from error
    except RuntimeError as error:  # NVRTC itself is another package, which the bindings look for
        raise NativeUnavailable(
            f"NVIDIA's compiler NVRTC cannot be loaded; install nvidia-cuda-nvrtc: {error}"
        ) from error
    return driver, nvrtc


def _checked(result: tuple[Any, ...], what: str) -> Any:
    """What a call gave, beside its status."""
    status, *values = result
    if int(status) != 0:
        raise NativeUnavailable(f"{what} failed: {status!r}")
    return values[0] if values else None


def shared_memory(device: torch.device) -> int:
    """Bytes of shared memory that a block of threads can have on a CUDA device.

    Raises:
        NativeUnavailable: The package ``cuda-bindings`` is missing.
    """
    driver, _ = _bindings()
    with torch.cuda.device(device):
        torch.cuda.synchronize()
        attribute = driver.CUdevice_attribute.CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN
        number = _checked(driver.cuCtxGetDevice(), "asking for the device")
        return int(_checked(driver.cuDeviceGetAttribute(attribute, number), "asking for shared memory"))


@dataclass(frozen=True)
class CudaLibrary:
    """Kernels of one compiled source, loaded on one device.

    Attributes:
        module: The driver's handle.
        device: Where they run.
        shared_bytes: Shared memory of a block.
        num_threads: Threads of a block.
    """

    module: Any
    device: torch.device
    shared_bytes: int
    num_threads: int

    def launch(self, kernel: str, blocks: tuple[int, int], *arguments: Tensor | int | None) -> None:
        """Queue a kernel on the device's current stream.

        Args:
            kernel: Its name.
            blocks: Their number along x and y.
            arguments: Tensors on the device (contiguous; ``None`` for a null pointer) and 32-bit integers.
        """
        driver, _ = _bindings()
        values: list[int] = []
        types: list[Any] = []
        for argument in arguments:
            if isinstance(argument, int):
                values.append(argument)
                types.append(ctypes.c_int)
            else:
                assert argument is None or (argument.is_contiguous() and argument.device == self.device)
                values.append(0 if argument is None else argument.data_ptr())
                types.append(ctypes.c_void_p)
        with torch.cuda.device(self.device):
            function = _checked(driver.cuModuleGetFunction(self.module, kernel.encode()), f"finding {kernel}")
            attribute = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
            _checked(driver.cuFuncSetAttribute(function, attribute, self.shared_bytes), "asking for shared memory")
            stream = torch.cuda.current_stream().cuda_stream
            shape = (*blocks, 1, self.num_threads, 1, 1, self.shared_bytes)
            _checked(driver.cuLaunchKernel(function, *shape, stream, (tuple(values), tuple(types)), 0), "launching")


def load_cuda_library(
    source: Path, constants: str, device: torch.device, *, shared_bytes: int, num_threads: int
) -> CudaLibrary:
    """The kernels of a CUDA source, compiled where they are not in the cache.

    Args:
        source: The file; it includes ``CONSTANTS_FILE``, and may include the folder's ``*.cuh`` files.
        constants: Content of that file.
        device: A CUDA device.
        shared_bytes, num_threads: What every block of theirs has.

    Raises:
        NativeUnavailable: The package ``cuda-bindings`` is missing, or the compiler or the driver refuses.
    """
    driver, nvrtc = _bindings()
    with torch.cuda.device(device):
        torch.cuda.synchronize()  # the device's context exists from here on
        code = _compiled(nvrtc, source, constants, torch.cuda.get_device_capability(device))
        module = _checked(driver.cuModuleLoadData(code), "loading compiled kernels")
    return CudaLibrary(module, device, shared_bytes, num_threads)


def _compiled(nvrtc: Any, source: Path, constants: str, capability: tuple[int, int]) -> bytes:
    options = [f"--gpu-architecture=sm_{capability[0]}{capability[1]}", "--std=c++17", f"-DCONSTANTS_FILE=<{_HEADER}>"]
    status, major, minor = nvrtc.nvrtcVersion()
    _checked((status,), "asking NVRTC for its version")
    headers = {path.name: path.read_text() for path in sorted(source.parent.glob("*.cuh"))} | {_HEADER: constants}
    identity = "\n".join([source.read_text(), *headers.values(), f"nvrtc {major}.{minor}", *options])

    def make(path: Path) -> None:
        path.write_bytes(_compile(nvrtc, source, headers, options))

    try:
        return compiled(identity, ".cubin", make, Path.read_bytes)
    except OSError as error:
        raise NativeUnavailable(f"the compiled kernels cannot be had: {printable(error)}") from error


def _compile(nvrtc: Any, source: Path, headers: dict[str, str], options: list[str]) -> bytes:
    texts, names = ([text.encode() for text in some] for some in (headers.values(), headers))
    program = _checked(
        nvrtc.nvrtcCreateProgram(source.read_text().encode(), source.name.encode(), len(headers), texts, names),
        "preparing the CUDA compiler",
    )
    status = nvrtc.nvrtcCompileProgram(program, len(options), [option.encode() for option in options])[0]
    if int(status) != 0:
        log = bytearray(_checked(nvrtc.nvrtcGetProgramLogSize(program), "reading the compiler's log"))
        _checked(nvrtc.nvrtcGetProgramLog(program, log), "reading the compiler's log")
        said = [printable(line) for line in bytes(log).decode(errors="replace").splitlines() if line.strip(" \0")]
        raise NativeUnavailable(f"the CUDA compiler failed: {'; '.join(said[:3]) or 'it did not say why'}")
    code = bytearray(_checked(nvrtc.nvrtcGetCUBINSize(program), "reading the compiled kernels"))
    _checked(nvrtc.nvrtcGetCUBIN(program, code), "reading the compiled kernels")
    _checked(nvrtc.nvrtcDestroyProgram(program), "closing the CUDA compiler")
    return bytes(code)
