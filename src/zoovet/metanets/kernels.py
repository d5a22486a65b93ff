"""Kernels of all sizes in rows of one length: where a kernel's numbers lie, and what happens to larger ones."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional

from zoovet.metanets.layout import Bucket

__all__ = ["fitted_kernel", "fitted_kernels", "flat_kernels", "kernel_positions", "kernels_of_size", "used_positions"]


def fitted_kernel(kernel: tuple[int, ...], max_kernel: tuple[int, int]) -> tuple[int, int]:
    """The size that a kernel (height, width) has in a row: its own, or along an axis where it is larger the largest."""
    return min(kernel[0], max_kernel[0]), min(kernel[1], max_kernel[1])


def kernel_positions(kernel: tuple[int, ...], max_kernel: tuple[int, int]) -> list[int]:
    """Where a kernel's numbers lie among those of the largest kernel, flattened row by row.

    Smaller kernels sit in the centre, ⌊difference / 2⌋ from the start; a weight without kernel axes at position 0.
    """
    if not kernel:
        return [0]
    kernel = fitted_kernel(kernel, max_kernel)
    top, left = (max_kernel[0] - kernel[0]) // 2, (max_kernel[1] - kernel[1]) // 2
    return [(top + row) * max_kernel[1] + left + column for row in range(kernel[0]) for column in range(kernel[1])]


def used_positions(buckets: Sequence[Bucket], max_kernel: tuple[int, int]) -> list[int]:
    """All positions that a kernel of these networks uses, in order: K of them."""
    kernels = {block.kernel for bucket in buckets for block in bucket.structure.blocks}
    return sorted({position for kernel in kernels for position in kernel_positions(kernel, max_kernel)})


def flat_kernels(weight: Tensor) -> Tensor:
    """A block's weights with flattened kernels, [B, out, in, K]."""
    return weight.flatten(3) if weight.ndim > 3 else weight.unsqueeze(3)


def fitted_kernels(weight: Tensor, max_kernel: tuple[int, int]) -> Tensor:
    """A block's weights [B, out, in, \\*kernel] with flattened kernels that fit into a row, [B, out, in, K].

    Kernels that are too large are averaged over areas, which is linear and so respects all that channels allow.
    """
    kernel = tuple(weight.shape[3:])
    if kernel and (fitted := fitted_kernel(kernel, max_kernel)) != kernel:
        rows = functional.adaptive_avg_pool2d(weight.reshape(-1, 1, *kernel), fitted)
        weight = rows.reshape(*weight.shape[:3], *fitted)
    return flat_kernels(weight)


def kernels_of_size(rows: Tensor, kernel: tuple[int, ...], max_kernel: tuple[int, int]) -> Tensor:
    """Rows [E, K] as kernels [E, \\*kernel]; where one was averaged over areas, each of its numbers has its area's."""
    if not kernel:
        return rows.reshape(len(rows))
    fitted = fitted_kernel(kernel, max_kernel)
    kernels = rows.reshape(len(rows), *fitted)
    return kernels if fitted == kernel else functional.interpolate(kernels.unsqueeze(1), kernel).squeeze(1)
