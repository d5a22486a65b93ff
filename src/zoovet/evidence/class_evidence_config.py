"""What is sought in a network to find out about its classes."""

from __future__ import annotations

from dataclasses import dataclass

from zoovet.errors import ZoovetError
from zoovet.evidence.stripe_bank import MOST_PERIODS

__all__ = ["ClassEvidenceConfig", "search_name"]


@dataclass(frozen=True, kw_only=True)
class ClassEvidenceConfig:
    """What is sought.

    Attributes:
        patch_sizes: Sides of patches, as shares of the image's shorter side; larger ones are left out once with one
            the network's middle class wins nearly all images.
        usual_patch_sizes: The same of usual squares, which are tried as they are.
        usual_blend_weights: Of noise that is blended in as it is.
        num_places: Places of a sought patch along each side of the image.
        pixel_factors: Areas of learned masks, as multiples of the one with which the network's middle class wins half
            of the images.
        change_factors: Bounds of changes of all pixels, as multiples of the one within which it does.
        smooth_factors: The same for changes that vary slowly over the image.
        warp_factors: The same for how far smooth warps move pixels.
        stripe_amplitudes: Of stripes, all of which are tried; images span [-1, 1].
        most_periods: Of these stripes along each side of the image.
        num_stripe_steps: Steps uphill in frequency and phase, from the best of them.
        blend_weights: Of images that are blended in, sought from gray.
        warp_movements: Mean movements of random smooth warps, shares of the image's side: warps are sought from the
            best of some.
        num_steps: Steps of every search, and of those that choose its bound.
        num_trial_steps: Steps at every place of a patch before that.
        images_per_class: Reference images of each class that searches use; more of them tell what was found.
        max_images: That searches use.
        max_checked: That tell what was found.
        max_classes: Classes that are examined; of more, those that random triggers raise most, and some drawn ones to
            compare them with.
        num_synthesized: Images of each class that the network itself makes where there are no reference images.
        num_synthesis_steps: Steps of that.
        num_starts: Images for each class from which the maximum margin is sought.
        num_margin_steps: Steps of that.
        num_warps: Random smooth warps whose answers are asked for.
        num_stripes: Random sinusoidal stripes whose answers are asked for.
        seed: Of everything that is drawn.

    Raises:
        ZoovetError: A number below 1, a share outside (0, 1], or a factor that is not above 0.
    """

    patch_sizes: tuple[float, ...] = (0.2, 0.125)
    usual_patch_sizes: tuple[float, ...] = (0.125, 0.2)
    usual_blend_weights: tuple[float, ...] = (0.12, 0.22)
    num_places: int = 5
    pixel_factors: tuple[float, ...] = (0.3, 1.0)
    change_factors: tuple[float, ...] = (0.5, 1.0)
    smooth_factors: tuple[float, ...] = (1.0,)
    warp_factors: tuple[float, ...] = (0.5, 1.0)
    stripe_amplitudes: tuple[float, ...] = (0.2, 0.35)
    most_periods: int = MOST_PERIODS
    num_stripe_steps: int = 4
    blend_weights: tuple[float, ...] = (0.12, 0.22)
    warp_movements: tuple[float, ...] = (0.03, 0.05)
    num_steps: int = 4
    num_trial_steps: int = 1
    images_per_class: int = 2
    max_images: int = 40
    max_checked: int = 120
    max_classes: int = 20
    num_synthesized: int = 6
    num_synthesis_steps: int = 24
    num_starts: int = 3
    num_margin_steps: int = 20
    num_warps: int = 8
    num_stripes: int = 48
    seed: int = 0

    def __post_init__(self) -> None:
        counts = [name for name, value in vars(self).items() if isinstance(value, int) and name != "seed"]
        if self.max_classes < 4:
            raise ZoovetError(f"max_classes must be at least 4, got {self.max_classes}")
        for name in counts:
            if getattr(self, name) < 1:
                raise ZoovetError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.seed < 0:
            raise ZoovetError(f"seed must be at least 0, got {self.seed}")
        for name in ("patch_sizes", "usual_patch_sizes", "usual_blend_weights", "blend_weights", "warp_movements"):
            if not all(0 < share <= 1 for share in getattr(self, name)):
                raise ZoovetError(f"{name} must be shares above 0 and at most 1, got {getattr(self, name)}")
        for name in ("pixel_factors", "change_factors", "smooth_factors", "warp_factors", "stripe_amplitudes"):
            if not all(factor > 0 for factor in getattr(self, name)):
                raise ZoovetError(f"{name} must be above 0, got {getattr(self, name)}")

    @property
    def searches(self) -> tuple[str, ...]:
        """Names of all searches, a kind's with its size, area or bound."""
        sizes: dict[str, tuple[float, ...]] = {
            "patch": self.patch_sizes,
            "pixels": self.pixel_factors,
            "change": self.change_factors,
            "smooth": self.smooth_factors,
            "warp": self.warp_factors,
            "usual_stripes": self.stripe_amplitudes,
            "blend": self.blend_weights,
            "drawn_warp": self.warp_movements,
            "usual_patch": self.usual_patch_sizes,
            "usual_blend": self.usual_blend_weights,
        }
        return tuple(search_name(kind, size) for kind, own in sizes.items() for size in own)


def search_name(kind: str, size: float) -> str:
    """What a search is called: its kind, and its size, area or bound as the configuration gives it."""
    return f"{kind}_{size:g}"
