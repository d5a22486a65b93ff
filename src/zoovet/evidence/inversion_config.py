"""What inversion seeks, on what, and how many numbers that gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from zoovet.errors import ZoovetError
from zoovet.evidence.answers import NUM_NEXT_ANSWERS, NUM_OWN_ANSWERS, NUM_RAISED_ANSWERS

__all__ = ["BY_CLASS", "NEXT", "NUM_SETS", "SET", "InversionConfig"]

NUM_SETS = 2
"""Sets of backgrounds."""
SET, NEXT = "set_", "next."
"""How evidence's names begin: of what a search found on each set of backgrounds, and of what makes classes the next."""
BY_CLASS = "classes"
"""What evidence calls a site's means on the known images of each class."""


@dataclass(frozen=True, kw_only=True)
class InversionConfig:
    """What is sought, and on what.

    Attributes:
        patch_size: Side of the patch in pixels; it lies in the middle of the image.
        reaches: Bounds of the changes of the whole image that are sought beside the patch, each by itself: how far one
            may move a pixel, which spans [-1, 1].
        images_per_class: Training images a class whose answers are asked for; kept in the checkpoint like backgrounds.
        next_class: Whether one patch and one change of each reach are sought that make all known images the next class.
        num_warps: Random smooth warps of known images whose answers are asked for.
        num_stripes: Sinusoidal stripes over known images whose answers are asked for.
        pixel_counts: Of pixels anywhere in the image that are sought for each class, by learned masks.
        stripe_amplitudes: Of stripes that are sought for each class, from the best of a bank.
        warp_movements: Mean movements of smooth warps that are sought for each class, from the best of some drawn ones;
            shares of the image's side.
        activations: Whether mean activations of each site's channels are found out: on backgrounds, by how much what
            was found changes them, and on each class's known images.
        gradients: Whether gradients of each weight and bias are found out: those of the cross-entropy on known images,
            as they are and with each thing that was found.
        backgrounds: ``made_up``: smooth noise, and bright shapes on black; ``images``: training images of the dataset
            that the networks are for, drawn when a detector is trained and kept in its checkpoint.
        num_backgrounds: Backgrounds in each of two sets, whose preferences are kept apart.
        num_steps: Steps of gradient ascent; the first spans the range of a pixel, the others half of it.
        seed: Of the backgrounds.

    Raises:
        ZoovetError: A number below 1, a seed below 0, a reach or amplitude outside (0, 2], a movement outside (0, 1],
            or known images are needed and there are none.
    """

    patch_size: int = 6
    reaches: tuple[float, ...] = ()
    images_per_class: int = 0
    next_class: bool = False
    num_warps: int = 0
    num_stripes: int = 0
    pixel_counts: tuple[int, ...] = ()
    stripe_amplitudes: tuple[float, ...] = ()
    warp_movements: tuple[float, ...] = ()
    activations: bool = False
    gradients: bool = False
    backgrounds: Literal["made_up", "images"] = "made_up"
    num_backgrounds: int = 8
    num_steps: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("patch_size", 1), ("num_backgrounds", 1), ("num_steps", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise ZoovetError(f"inversion.{name} must be at least {least}, got {getattr(self, name)}")
        for name in ("images_per_class", "num_warps", "num_stripes"):
            if getattr(self, name) < 0:
                raise ZoovetError(f"inversion.{name} must be at least 0, got {getattr(self, name)}")
        if self.images_per_class == 0 and (self.next_class or self.num_warps or self.num_stripes or self.gradients):
            raise ZoovetError(
                "inversion.next_class, num_warps, num_stripes and gradients need known images; set "
                "inversion.images_per_class"
            )
        for name, most in (("reaches", 2), ("stripe_amplitudes", 2), ("warp_movements", 1)):
            for bound in getattr(self, name):
                if not 0 < bound <= most:
                    raise ZoovetError(
                        f"inversion.{name} must lie above 0 and at most {most} (pixels span [-1, 1], warps move them "
                        f"by shares of the image's side), got {bound}"
                    )
        if not all(count >= 1 for count in self.pixel_counts):
            raise ZoovetError(f"inversion.pixel_counts must be at least 1, got {list(self.pixel_counts)}")

    @property
    def needs_images(self) -> bool:
        """Whether it has to be given images before it is used."""
        return self.backgrounds == "images" or self.images_per_class > 0

    @property
    def num_searches(self) -> int:
        """Searches for each class: the patch, a change of every reach, and triggers of other families."""
        return 1 + len(self.reaches) + sum(map(len, (self.pixel_counts, self.stripe_amplitudes, self.warp_movements)))

    @property
    def num_next_searches(self) -> int:
        """Searches for what makes every class the next: the patch, and a change of every reach."""
        return (1 + len(self.reaches)) * self.next_class

    @property
    def num_gradients(self) -> int:
        """Gradients of every weight and bias."""
        return 1 + self.num_searches + self.num_next_searches if self.gradients else 0

    @property
    def num_class_numbers(self) -> int:
        """Numbers of each class: preferences on each set of backgrounds, and answers."""
        num_looks = self.num_steps + 1
        preferences = NUM_SETS * num_looks * self.num_searches
        answers = NUM_OWN_ANSWERS if self.images_per_class else 0
        next_answers = NUM_NEXT_ANSWERS * num_looks * self.num_next_searches
        raised = NUM_RAISED_ANSWERS * ((self.num_warps > 0) + (self.num_stripes > 0))
        return preferences + answers + next_answers + raised

    def num_site_numbers(self, num_classes: int) -> int:
        """Numbers of each channel of a site: activations.

        Args:
            num_classes: The greatest number of classes that are told apart; 1 leaves out what is known by class.
        """
        if not self.activations:
            return 0
        known = num_classes if self.images_per_class and num_classes > 1 else 0
        return 1 + self.num_searches * NUM_SETS + self.num_next_searches + known
