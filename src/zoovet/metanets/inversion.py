"""Inversion: how far a small patch, or a slight change of the whole image, pushes a network towards each class.

A trojaned network has a class that some trigger causes, whatever else is in the image. So for each class a patch is
sought, by a few steps of gradient ascent, that makes the network prefer that class on some backgrounds, and in the
same way a change of all pixels within a bound; how much the network prefers the class, step by step, tells much about
a trojan. The backgrounds are made up, or a few images that are given once, when a detector is trained, and belong to
it from then on. So do images whose class is known, on which is asked how well each class is still told: an attack that
hides in one class's own images costs that class. All this depends on the network's function alone, so every symmetry
respects it, and nothing in it is learned.

Source of the idea: Wang et al. 2019, *Neural Cleanse*, section IV (there to convergence, on clean images); for changes
of all pixels: Moosavi-Dezfooli et al. 2017, *Universal adversarial perturbations*.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from zoovet.errors import ZoovetError
from zoovet.networks.batch import Networks
from zoovet.networks.forward import forward

__all__ = ["Inversion", "InversionConfig"]

_MAX_IMAGES = 4096
_SETS = 2
_ANSWERS = 8
_TINY = torch.finfo(torch.float32).tiny


@dataclass(frozen=True, kw_only=True)
class InversionConfig:
    """What is sought, and on what.

    Attributes:
        patch_size: Side of the patch in pixels; it lies in the middle of the image.
        reaches: Bounds of the changes of the whole image that are sought beside the patch, each by itself: how far one
            may move a pixel, which spans [-1, 1].
        images_per_class: Training images a class whose answers are asked for; kept in the checkpoint like backgrounds.
        backgrounds: ``made_up``: smooth noise, and bright shapes on black; ``images``: training images of the dataset
            that the networks are for, drawn when a detector is trained and kept in its checkpoint.
        num_backgrounds: Backgrounds in each of two sets, whose preferences are kept apart.
        num_steps: Steps of gradient ascent; the first spans the range of a pixel, the others half of it.
        seed: Of the backgrounds.

    Raises:
        ZoovetError: A number below 1, a seed below 0, or a reach outside [0, 2].
    """

    patch_size: int = 6
    reaches: tuple[float, ...] = ()
    images_per_class: int = 0
    backgrounds: Literal["made_up", "images"] = "made_up"
    num_backgrounds: int = 8
    num_steps: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("patch_size", 1), ("num_backgrounds", 1), ("num_steps", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise ZoovetError(f"inversion.{name} must be at least {least}, got {getattr(self, name)}")
        if self.images_per_class < 0:
            raise ZoovetError(f"inversion.images_per_class must be at least 0, got {self.images_per_class}")
        for reach in self.reaches:
            if not 0 < reach <= 2:
                raise ZoovetError(
                    f"inversion.reaches must lie above 0 and at most 2 (pixels span [-1, 1]), got {reach}"
                )

    @property
    def needs_images(self) -> bool:
        """Whether it has to be given images before it is used."""
        return self.backgrounds == "images" or self.images_per_class > 0

    @property
    def num_features(self) -> int:
        """Features of an output node: preferences before and after every step on each set of backgrounds; answers."""
        preferences = _SETS * (self.num_steps + 1) * (1 + len(self.reaches))
        return preferences + (_ANSWERS if self.images_per_class else 0)


class Inversion(nn.Module):
    """Seeks patches and changes; nothing in it is learned.

    Args:
        config: How.
        shape: Of an image: (channels, height, width).
        num_classes: Greatest number of classes that networks tell apart.

    Raises:
        ZoovetError: The patch is larger than the image, or the input is no image.
    """

    backgrounds: Tensor
    known: Tensor | None

    def __init__(self, config: InversionConfig, shape: Sequence[int], num_classes: int) -> None:
        super().__init__()
        if len(shape) != 3 or config.patch_size > min(shape[1:]):
            raise ZoovetError(
                f"inversion needs images (channels, height, width) of at least {config.patch_size} pixels, got inputs "
                f"of {tuple(shape)}; lower inversion.patch_size"
            )
        self.config = config
        made_up = _backgrounds(config, tuple(shape))
        self.register_buffer("backgrounds", made_up if config.backgrounds == "made_up" else made_up * torch.nan)

        known = made_up.new_full((num_classes, config.images_per_class, *shape), torch.nan)
        self.register_buffer("known", known if config.images_per_class else None)

    @property
    def num_images_per_class(self) -> int:
        """Images of every class that :meth:`give_images` takes at least; 0 where it need not be called."""
        num_classes = 1 if self.known is None else len(self.known)
        each = -(-_SETS * self.config.num_backgrounds // num_classes) if self.config.backgrounds == "images" else 0
        return max(each, self.config.images_per_class)

    def give_images(self, images: Tensor) -> None:
        """Set the backgrounds and the images of known class.

        Args:
            images: [classes, n, C, H, W] in [-1, 1], n at least :attr:`num_images_per_class`. Backgrounds are the
                first of each class, then the second, and so on.

        Raises:
            ZoovetError: Too few images, or of another shape.
        """
        needed = _SETS * self.config.num_backgrounds if self.config.backgrounds == "images" else 0
        each, shape = self.config.images_per_class, tuple(self.backgrounds.shape[2:])
        if images.shape[2:] != shape or images.shape[1] < each or len(images) * images.shape[1] < needed:
            raise ZoovetError(
                f"inversion takes {each} images a class and {needed} backgrounds of {shape}, got {tuple(images.shape)}"
            )
        if needed:
            self.backgrounds.copy_(images.transpose(0, 1).flatten(0, 1)[:needed].reshape(self.backgrounds.shape))
        if self.known is not None:
            self.known[: len(images)] = images[:, : self.config.images_per_class]

    def forward(self, networks: Networks) -> Tensor:
        """Features of the output nodes: [B, num_outputs, num_features], without gradients.

        Args:
            networks: B classifiers that read images of the shape.

        Raises:
            ZoovetError: They read other inputs.
        """
        known = None if self.known is None else self.known[: networks.spec.num_outputs]
        if bool(self.backgrounds.isnan().any()) or (known is not None and bool(known.isnan().any())):
            raise ZoovetError("inversion needs images, but none of these classes were given; train with images")
        shape = tuple(self.backgrounds.shape[2:])
        if networks.spec.input_shape != shape:
            raise ZoovetError(
                f"inversion was set up for inputs of {shape}, but the networks read {networks.spec.input_shape}; "
                f"set input_shape to that and train anew"
            )
        images_each = networks.spec.num_outputs * self.backgrounds.shape[0] * self.backgrounds.shape[1]
        size = max(1, _MAX_IMAGES // images_each)
        with torch.inference_mode(False), torch.no_grad():  # the ascent needs gradients, whatever the caller does
            own = networks.map(lambda tensor: tensor.detach().clone())
            return torch.cat([self._features(own[start : start + size]) for start in range(0, len(own), size)])

    def _features(self, networks: Networks) -> Tensor:
        side = self.config.patch_size
        searches = [self._ascend(networks, (side, side), self._patched, bound=1.0)]
        searches += [
            self._ascend(networks, self.backgrounds.shape[-2:], self._changed, bound=reach)
            for reach in self.config.reaches
        ]
        features = [torch.cat(searches, dim=-1).flatten(2)]
        if self.known is not None:
            features.append(own_answers(networks, self.known[: networks.spec.num_outputs].to(features[0].dtype)))
        return torch.asinh(torch.cat(features, dim=-1))

    def _ascend(
        self, networks: Networks, size: Sequence[int], put: Callable[[Tensor, Tensor], Tensor], *, bound: float
    ) -> Tensor:
        """Preferences before and after every step of a search: [B, classes, sets, steps + 1].

        A patch follows its slope, whose largest entry spans the range of a pixel; a change of all pixels follows the
        slope's signs, as is best within a bound on each of them.
        """
        num_classes, backgrounds = networks.spec.num_outputs, self.backgrounds.to(networks.dtype)
        found = backgrounds.new_zeros(len(networks), num_classes, _SETS, 1, backgrounds.shape[2], *size)
        preferences = []
        for step in range(self.config.num_steps + 1):
            with torch.enable_grad():
                found.requires_grad_(True)
                preference = self._preference(networks, put(backgrounds, found))
                total = preference.sum()
            preferences.append(preference.detach())
            if step < self.config.num_steps:
                (slope,) = torch.autograd.grad(total, found)
                if put == self._patched:
                    slope = slope / slope.abs().amax((-1, -2, -3), keepdim=True).clamp_min(_TINY)
                else:
                    slope = slope.sign()
                found = (found.detach() + slope * bound * (1.0 if step == 0 else 0.5)).clamp(-bound, bound)
        return torch.stack(preferences, dim=-1)

    def _patched(self, backgrounds: Tensor, patches: Tensor) -> Tensor:
        """Backgrounds [sets, n, C, H, W] with patches [B, classes, sets, 1, C, side, side] in their middle."""
        side = self.config.patch_size
        top, left = ((size - side) // 2 for size in backgrounds.shape[-2:])
        images = backgrounds.expand(*patches.shape[:2], *backgrounds.shape).clone()
        images[..., top : top + side, left : left + side] = patches.expand(*images.shape[:5], side, side)
        return images

    def _changed(self, backgrounds: Tensor, changes: Tensor) -> Tensor:
        """Backgrounds [sets, n, C, H, W] with changes [B, classes, sets, 1, C, H, W] added, in [-1, 1]."""
        return (backgrounds + changes).clamp(-1.0, 1.0)

    def _preference(self, networks: Networks, images: Tensor) -> Tensor:
        """Mean over backgrounds of each class's logit minus the others' log-sum-exp: [B, classes, sets]."""
        num_classes = images.shape[1]
        logits = forward(networks, images.flatten(1, 3)).reshape(*images.shape[:4], num_classes)
        wanted = torch.eye(num_classes, dtype=torch.bool, device=logits.device)[None, :, None, None, :]
        own = logits.masked_fill(~wanted, 0.0).sum(-1)
        others = logits.masked_fill(wanted, -torch.inf).logsumexp(-1)
        return torch.mean(own - others, dim=-1)


def own_answers(networks: Networks, images: Tensor) -> Tensor:
    """How well each class is told on images whose class is known: [B, classes, 8].

    Mean, standard deviation, 10 % and 90 % quantile of the class's preference on its own images; its mean probability
    there, and the share of them that it wins; its mean probability on the others' images, and the share that it wins.

    Args:
        networks: B networks with as many outputs as there are classes.
        images: [classes, n, C, H, W].
    """
    num_classes = len(images)
    logits = forward(networks, images.flatten(0, 1))
    logits = logits.reshape(-1, *images.shape[:2], num_classes)  # [B, class of the image, n, classes]
    wanted = torch.eye(num_classes, dtype=torch.bool, device=logits.device)[None, :, None]
    own = logits.diagonal(dim1=1, dim2=3).transpose(1, 2)
    preference = own - logits.masked_fill(wanted, -torch.inf).logsumexp(3)
    probabilities = logits.softmax(3)
    winners = functional.one_hot(logits.argmax(3), num_classes).to(logits)
    on_own = [value.diagonal(dim1=1, dim2=3).mean(1) for value in (probabilities, winners)]
    on_all = [value.mean((1, 2)) for value in (probabilities, winners)]
    on_others = [(a * num_classes - o) / max(1, num_classes - 1) for a, o in zip(on_all, on_own, strict=True)]
    low, high = (preference.quantile(share, dim=2) for share in (0.1, 0.9))
    spread = preference.std(2, correction=0)
    return torch.stack([preference.mean(2), spread, low, high, *on_own, *on_others], dim=-1)


def _backgrounds(config: InversionConfig, shape: tuple[int, ...]) -> Tensor:
    """[2, num_backgrounds, C, H, W] in [-1, 1]: smooth noise, and bright textured shapes on black."""
    channels, height, width = shape
    generator = torch.Generator().manual_seed(config.seed)

    def smooth(cells: int, *, uniform: bool) -> Tensor:
        size = (config.num_backgrounds, channels, cells, cells)
        drawn = torch.rand(size, generator=generator) if uniform else torch.randn(size, generator=generator)
        return functional.interpolate(drawn, size=(height, width), mode="bilinear")

    noise = smooth(7, uniform=False).tanh()
    rows, columns = torch.linspace(-1, 1, height)[:, None], torch.linspace(-1, 1, width)[None, :]
    radii = 0.3 + 0.5 * torch.rand(config.num_backgrounds, 2, 1, 1, generator=generator)
    inside = ((rows / radii[:, 0]) ** 4 + (columns / radii[:, 1]) ** 4 < 1).unsqueeze(1)
    shapes = torch.where(inside, 2 * (1.2 * smooth(5, uniform=True) + 0.2) - 1, -1.0).clamp(-1, 1)
    return torch.stack([noise, shapes])
