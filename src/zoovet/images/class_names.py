"""Names of the classes of the datasets that are known by a name."""

from __future__ import annotations

from zoovet.images.glyphs import GLYPH_CLASSES
from zoovet.images.shapes import SHAPE_CLASSES

__all__ = ["class_names"]

_DIGITS = tuple(str(digit) for digit in range(10))
_CLASS_NAMES = {
    "digits": _DIGITS,
    "mnist": _DIGITS,
    "fashion-mnist": (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
    "shapes": SHAPE_CLASSES[:10],
    "cifar10": ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
}


def class_names(dataset: str, num_classes: int) -> tuple[str, ...]:
    """Names of a dataset's labels; the numbers themselves where it has no names."""
    names = tuple(GLYPH_CLASSES[:num_classes]) if dataset == "glyphs" else _CLASS_NAMES.get(dataset, ())
    return names if len(names) == num_classes else tuple(str(label) for label in range(num_classes))
