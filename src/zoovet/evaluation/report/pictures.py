"""Pictures as part of a page."""

from __future__ import annotations

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["mask_data", "picture_data", "png_data"]


def png_data(pixels: NDArray[np.uint8]) -> str:
    """A ``data:`` address of a uint8 image [C, H, W] with one or three channels."""
    picture = Image.fromarray(pixels[0] if pixels.shape[0] == 1 else np.moveaxis(pixels, 0, -1))
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def picture_data(pixels: NDArray[np.uint8]) -> str:
    """The same of an image with any number of channels: of those that are no picture, their mean."""
    if pixels.shape[0] not in (1, 3):
        pixels = pixels.mean(axis=0, keepdims=True).round().astype(np.uint8)
    return png_data(pixels)


def mask_data(mask: NDArray[np.bool_]) -> str:
    """The same of a mask, bool [H, W]: white where it is true."""
    return png_data(255 * mask[None].astype(np.uint8))
