"""Inversion: how far a small patch, or a slight change of the whole image, pushes a network towards each class.

A trojaned network has a class that some trigger causes, whatever else is in the image. So for each class a patch is
sought, by a few steps of gradient ascent, that makes the network prefer that class on some backgrounds, and in the
same way a change of all pixels within a bound; how much the network prefers the class, step by step, tells much about
a trojan. The backgrounds are made up, or a few images that are given once, when a detector is trained, and belong to
it from then on. So do images whose class is known, which say more (:mod:`zoovet.metanets.answers`). All this depends on
the network's function alone, so every symmetry respects it, and nothing in it is learned.

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
from zoovet.metanets.answers import (
    NUM_NEXT_ANSWERS,
    NUM_OWN_ANSWERS,
    NUM_RAISED_ANSWERS,
    loss_gradients,
    mean_activations,
    next_answers,
    own_answers,
    raised_answers,
    striped,
    warped,
)
from zoovet.metanets.ascent import Search
from zoovet.networks.batch import Networks
from zoovet.networks.forward import forward, forward_means
from zoovet.networks.spec import NetworkSpec

__all__ = ["Inversion", "InversionConfig"]

_MAX_IMAGES = 4096
_SETS = 2
_SEARCHED_PER_CLASS = 4


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
        activations: Whether mean activations of each neuron are features of its node: on backgrounds, by how much what
            was found changes them, and on each class's known images.
        gradients: Whether the gradients of each weight and bias are features of its edge and node: those of the
            cross-entropy on known images, as they are and with each thing that was found.
        backgrounds: ``made_up``: smooth noise, and bright shapes on black; ``images``: training images of the dataset
            that the networks are for, drawn when a detector is trained and kept in its checkpoint.
        num_backgrounds: Backgrounds in each of two sets, whose preferences are kept apart.
        num_steps: Steps of gradient ascent; the first spans the range of a pixel, the others half of it.
        seed: Of the backgrounds.

    Raises:
        ZoovetError: A number below 1, a seed below 0, a reach outside [0, 2], or known images are needed and there are
            none.
    """

    patch_size: int = 6
    reaches: tuple[float, ...] = ()
    images_per_class: int = 0
    next_class: bool = False
    num_warps: int = 0
    num_stripes: int = 0
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
    def num_searches(self) -> int:
        """Searches for each class: the patch, and a change of every reach."""
        return 1 + len(self.reaches)

    @property
    def num_gradients(self) -> int:
        """Gradients of every weight and bias."""
        return 1 + self.num_searches * (1 + self.next_class) if self.gradients else 0


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
        self._run: Callable[[Networks, Tensor], Tensor] = forward
        made_up = _backgrounds(config, tuple(shape))
        self.register_buffer("backgrounds", made_up if config.backgrounds == "made_up" else made_up * torch.nan)

        known = made_up.new_full((num_classes, config.images_per_class, *shape), torch.nan)
        self.register_buffer("known", known if config.images_per_class else None)

    def run_through(self, run: Callable[[Networks, Tensor], Tensor]) -> None:
        """Run networks by other means than :func:`~zoovet.networks.forward` where no gradients to weights are wanted.

        Args:
            run: From networks and images to logits, differentiable to the images; as ``forward`` but for speed.
        """
        self._run = run

    @property
    def num_features(self) -> int:
        """Features of a node: activations; of output nodes also preferences on each set of backgrounds, and answers."""
        config, num_looks = self.config, self.config.num_steps + 1
        preferences = _SETS * num_looks * config.num_searches
        answers = NUM_OWN_ANSWERS if config.images_per_class else 0
        next_answers = NUM_NEXT_ANSWERS * num_looks * config.num_searches if config.next_class else 0
        raised = NUM_RAISED_ANSWERS * ((config.num_warps > 0) + (config.num_stripes > 0))
        return self._num_activations + preferences + answers + next_answers + raised

    @property
    def _num_activations(self) -> int:
        if not self.config.activations:
            return 0
        return 1 + self.config.num_searches * (_SETS + self.config.next_class) + self._num_known_classes

    @property
    def _num_known_classes(self) -> int:
        return 0 if self.known is None else len(self.known)

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
        """What is found in networks, a row each.

        Args:
            networks: B classifiers that read images of the shape.

        Returns:
            [B, numbers], without gradients, for :meth:`unpack`.

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
            return torch.cat([self._rows(own[start : start + size]) for start in range(0, len(own), size)])

    def unpack(self, rows: Tensor, spec: NetworkSpec) -> tuple[Tensor, list[Networks]]:
        """What :meth:`forward` gave for networks of a spec, as features of the graph.

        Returns:
            Features of nodes, [B, nodes, num_features]: of output nodes, or with ``activations`` of the hidden nodes,
            group by group, before them, with 0 for what hidden nodes lack. And ``num_gradients`` gradients, each like
            B networks, which scale as the reciprocals of weights and biases.
        """
        num_gradient_numbers = self.config.num_gradients * spec.num_parameters
        nodes, gradients = rows.tensor_split((rows.shape[1] - num_gradient_numbers,), dim=1)
        features = nodes.reshape(len(rows), -1, self.num_features)
        each = torch.split(gradients, spec.num_parameters, dim=1) if num_gradient_numbers else ()
        return features, [Networks.from_flat(spec, flat) for flat in each]

    def changed(self, rows: Tensor, spec: NetworkSpec, change: Callable[[Networks], Networks]) -> Tensor:
        """The same rows, the gradients in them changed as the networks are: by turned kernels, for example."""
        num_gradient_numbers = self.config.num_gradients * spec.num_parameters
        _, gradients = self.unpack(rows, spec)
        nodes = rows[:, : rows.shape[1] - num_gradient_numbers]
        return torch.cat([nodes, *(change(gradient).flat() for gradient in gradients)], dim=1)

    def _rows(self, networks: Networks) -> Tensor:
        pairs = [self._preferences(networks, search) for search in self._searches()]
        found = [(search, trigger) for search, (_, trigger) in zip(self._searches(), pairs, strict=True)]
        answers = [torch.cat([preferences for preferences, _ in pairs], dim=-1).flatten(2)]
        known = None if self.known is None else self.known[: networks.spec.num_outputs].to(networks.dtype)
        found_for_all, on_known = [], None
        if known is not None:
            few = known[:, :_SEARCHED_PER_CLASS]
            look = forward_means if self.config.activations else self._run
            on_known = look(networks, known.flatten(0, 1)).reshape(len(networks), *known.shape[:2], -1)
            answers.append(own_answers(on_known[..., -networks.spec.num_outputs :]))
            for search in self._searches() if self.config.next_class else ():
                seen, trigger = self._next_answers(networks, few, search)
                answers.append(seen)
                found_for_all.append((search, trigger))
            flat, seed = few.flatten(0, 1), self.config.seed
            if self.config.num_warps:
                moved = warped(flat, num_warps=self.config.num_warps, seed=seed)
                answers.append(raised_answers(networks, flat, moved, self._run))
            if self.config.num_stripes:
                moved = striped(flat, num_stripes=self.config.num_stripes, seed=seed)
                answers.append(raised_answers(networks, flat, moved, self._run))
        features = torch.asinh(torch.cat(answers, dim=-1))
        if self.config.activations:
            shown = self._activations(networks, found, found_for_all, known, on_known)
            hidden = shown.shape[1] - features.shape[1]
            features = torch.cat([shown, functional.pad(features, (0, 0, hidden, 0))], dim=-1)
        rows = [features.flatten(1)]
        if self.config.gradients and known is not None:
            rows += self._gradients(networks, known, [*found, *found_for_all])
        return torch.cat(rows, dim=1)

    def _activations(
        self,
        networks: Networks,
        found: _Found,
        found_for_all: _Found,
        known: Tensor | None,
        on_known: Tensor | None,
    ) -> Tensor:
        """Mean activations on backgrounds, their changes by what was found, and on each class's known images.

        Returns [B, nodes, features].

        What was found for one class is put on the backgrounds it was found on, what was found for all of them on the
        known images. ``on_known`` holds the nodes' means on each of these, [B, classes, n, nodes].
        """
        backgrounds = self.backgrounds.to(networks.dtype)
        clean, each = mean_activations(networks, backgrounds), (len(networks), *backgrounds.shape)
        columns = [clean.mean(-1, keepdim=True)]
        columns += [
            mean_activations(networks, search.put(backgrounds.expand(each), trigger)) - clean
            for search, trigger in found
        ]
        if known is not None and on_known is not None:
            few, without = known[:, :_SEARCHED_PER_CLASS], on_known[:, :, :_SEARCHED_PER_CLASS].mean((1, 2))
            images = few.flatten(0, 1).unsqueeze(0).expand(len(networks), 1, -1, -1, -1, -1)
            columns += [
                mean_activations(networks, search.put(images, trigger)) - without.unsqueeze(2)
                for search, trigger in found_for_all
            ]
            by_class = on_known.mean(dim=2).mT - columns[0]
            columns.append(functional.pad(by_class, (0, self._num_known_classes - len(known))))
        return torch.cat(columns, dim=-1)

    def _gradients(self, networks: Networks, known: Tensor, found: _Found) -> list[Tensor]:
        """Gradients on known images, without and with each thing that was found, each [B, parameters]."""
        images, labels = known.flatten(0, 1), torch.arange(len(known), device=known.device)
        each, labels = (len(networks), *images.shape), labels.repeat_interleave(known.shape[1])
        changed = [images, *(search.put(images.expand(each), trigger[:, 0]) for search, trigger in found)]
        return [loss_gradients(networks, some, labels) for some in changed]

    def _searches(self) -> list[Search]:
        """The patch, and the changes of every reach."""
        size = self.backgrounds.shape[-2:]
        patch = Search((self.config.patch_size, self.config.patch_size), 1.0, is_patch=True)
        return [patch, *(Search((size[0], size[1]), reach, is_patch=False) for reach in self.config.reaches)]

    def _preferences(self, networks: Networks, search: Search) -> tuple[Tensor, Tensor]:
        """What a patch or change of its own for every class and set does, and the one that does most.

        Returns:
            [B, classes, sets, steps + 1], and what was found for the class that gained most in the end, for each set:
            [B, sets, 1, C, height, width].
        """
        num_classes, backgrounds = networks.spec.num_outputs, self.backgrounds.to(networks.dtype)
        wanted = torch.eye(num_classes, dtype=torch.bool, device=backgrounds.device)[None, :, None, None, :]
        start = backgrounds.new_zeros(len(networks), num_classes, _SETS, 1, backgrounds.shape[2], *search.size)

        def preference(found: Tensor) -> tuple[Tensor, Tensor]:
            images = search.put(backgrounds.expand(*start.shape[:2], *backgrounds.shape), found)
            logits = self._run(networks, images.flatten(1, 3)).reshape(*images.shape[:4], num_classes)
            own = logits.masked_fill(~wanted, 0.0).sum(-1)
            mean = torch.mean(own - logits.masked_fill(wanted, -torch.inf).logsumexp(-1), dim=-1)
            return mean.sum(), mean

        seen, found = search.ascend(preference, start, self.config.num_steps)
        best = (seen[-1] - seen[0]).mean(2).argmax(1)
        return torch.stack(seen, dim=-1), found[torch.arange(len(networks), device=best.device), best]

    def _next_answers(self, networks: Networks, known: Tensor, search: Search) -> tuple[Tensor, Tensor]:
        """What one patch or change for all classes does that leads to each image's next class.

        Returns:
            [B, classes, 2 · (steps + 1)], and the patch or change, [B, 1, 1, C, height, width].
        """
        images = known.flatten(0, 1)
        start = images.new_zeros(len(networks), 1, images.shape[1], *search.size)

        def preference(found: Tensor) -> tuple[Tensor, Tensor]:
            logits = self._run(networks, search.put(images.expand(len(networks), *images.shape), found))
            likelihood, answers = next_answers(logits.reshape(-1, *known.shape[:2], logits.shape[-1]))
            return likelihood.sum(), answers

        seen, found = search.ascend(preference, start, self.config.num_steps)
        return torch.cat(seen, dim=-1), found.unsqueeze(1)


_Found = Sequence[tuple[Search, Tensor]]
"""Searches, and what each found: [B, sets, 1, C, height, width]."""


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
