"""Inversion: how far a small patch, or a slight change of the whole image, pushes a network towards each class.

A trojaned network has a class that some trigger causes, whatever else is in the image. So for each class a patch is
sought, by a few steps of gradient ascent, that makes the network prefer that class on some backgrounds, and in the
same way a change of all pixels within a bound; how much the network prefers the class, step by step, tells much about
a trojan. The backgrounds are made up, or a few images that are given once, when a detector is trained, and belong to
it from then on. So do images whose class is known, which say more (:mod:`zoovet.evidence.answers`). All this depends on
the network's function alone, so every symmetry respects it, and nothing in it is learned.

Source of the idea: Wang et al. 2019, *Neural Cleanse*, section IV (there to convergence, on clean images); for changes
of all pixels: Moosavi-Dezfooli et al. 2017, *Universal adversarial perturbations*.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from zoovet.errors import ZoovetError
from zoovet.evidence.answers import (
    loss_gradients,
    means_of_sets,
    next_answers,
    own_answers,
    raised_answers,
    striped,
    warped,
)
from zoovet.evidence.ascent import Search
from zoovet.evidence.backgrounds import made_up_images
from zoovet.evidence.evidence import Evidence
from zoovet.evidence.family_search import FamilySearch
from zoovet.evidence.inversion_config import BY_CLASS, NEXT, NUM_SETS, SET, InversionConfig
from zoovet.evidence.runnable import Inspectable, Runnable
from zoovet.evidence.runnable_graphs import RunnableGraphs
from zoovet.evidence.stripe_bank import stripe_starts
from zoovet.evidence.trigger_families import Pixels, Stripes, Warps
from zoovet.evidence.usual_triggers import drawn_warps
from zoovet.networks.batch import Networks
from zoovet.networks.run import run
from zoovet.networks.scaling import ZOO_SCALING

__all__ = ["Inversion"]

_MAX_IMAGES = 4096
_SEARCHED_PER_CLASS = 4
_FEW_BACKGROUNDS, _NUM_WARPS = 2, 64


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
        self._run: Callable[[Networks, Tensor], Tensor] = run
        made_up = made_up_images(config.num_backgrounds, shape, config.seed)
        self.register_buffer("backgrounds", made_up if config.backgrounds == "made_up" else made_up * torch.nan)

        known = made_up.new_full((num_classes, config.images_per_class, *shape), torch.nan)
        self.register_buffer("known", known if config.images_per_class else None)

    def run_through(self, run: Callable[[Networks, Tensor], Tensor]) -> None:
        """Run networks by other means than :func:`~zoovet.networks.run` where no gradients to weights are wanted.

        Args:
            run: From networks and images to logits, differentiable to the images; as ``run`` but for speed.
        """
        self._run = run

    @property
    def num_images_per_class(self) -> int:
        """Images of every class that :meth:`give_images` takes at least; 0 where it need not be called."""
        num_classes = 1 if self.known is None else len(self.known)
        each = -(-NUM_SETS * self.config.num_backgrounds // num_classes) if self.config.backgrounds == "images" else 0
        return max(each, self.config.images_per_class)

    def give_images(self, images: Tensor) -> None:
        """Set the backgrounds and the images of known class.

        Args:
            images: [classes, n, C, H, W] in [-1, 1], n at least :attr:`num_images_per_class`. Backgrounds are the
                first of each class, then the second, and so on.

        Raises:
            ZoovetError: Too few images, or of another shape.
        """
        needed = NUM_SETS * self.config.num_backgrounds if self.config.backgrounds == "images" else 0
        each, shape = self.config.images_per_class, tuple(self.backgrounds.shape[2:])
        if images.shape[2:] != shape or images.shape[1] < each or len(images) * images.shape[1] < needed:
            raise ZoovetError(
                f"inversion takes {each} images a class and {needed} backgrounds of {shape}, got {tuple(images.shape)}"
            )
        if needed:
            self.backgrounds.copy_(images.transpose(0, 1).flatten(0, 1)[:needed].reshape(self.backgrounds.shape))
        if self.known is not None:
            self.known[: len(images)] = images[:, : self.config.images_per_class]

    def forward(self, networks: Networks | Runnable) -> Evidence:
        """What is found in networks.

        Args:
            networks: B classifiers that read images of the shape.

        Returns:
            Evidence of their classes; with ``activations`` of sites, with ``gradients`` of parameters; without
            gradients itself.

        Raises:
            ZoovetError: They read other inputs, tell more classes apart than there are known images of, or their sites
                and parameters are wanted and not known.
        """
        with torch.inference_mode(False), torch.no_grad():  # the ascent needs gradients, whatever the caller does
            self._require_shape(networks.graph.input_shape if isinstance(networks, Networks) else networks.input_shape)
            own = self._runnable(networks)
            self._require_fitting(own)
            size = max(1, _MAX_IMAGES // (own.num_classes * self.backgrounds.shape[0] * self.backgrounds.shape[1]))
            parts = [own[start : start + size] for start in range(0, len(own), size)]
            return Evidence.concatenate([self._evidence(part) for part in parts])

    def _runnable(self, networks: Networks | Runnable) -> Runnable:
        if not isinstance(networks, Networks):
            return networks
        own = networks.map(lambda tensor: tensor.detach().clone())
        # Zoos and checkpoints of chains were written before networks said their scaling: they read what zoovet keeps.
        is_told = own.graph.input_scaling is not None or not own.graph.is_chain
        return RunnableGraphs(own if is_told else own.with_scaling(ZOO_SCALING), self._run)

    def _require_shape(self, theirs: tuple[int, ...]) -> None:
        shape = tuple(self.backgrounds.shape[2:])
        if theirs != shape:
            raise ZoovetError(
                f"inversion was set up for inputs of {shape}, but the networks read {theirs}; set input_shape to that "
                f"and train anew"
            )

    def _require_fitting(self, networks: Runnable) -> None:
        known = None if self.known is None else self.known[: networks.num_classes]
        if bool(self.backgrounds.isnan().any()) or (known is not None and bool(known.isnan().any())):
            raise ZoovetError("inversion needs images, but none of these classes were given; train with images")
        if known is not None and len(known) < networks.num_classes:
            raise ZoovetError(
                f"inversion was set up for at most {len(known)} classes, but the networks tell {networks.num_classes} "
                f"apart"
            )
        if (self.config.activations or self.config.gradients) and not isinstance(networks, Inspectable):
            raise ZoovetError(
                "inversion.activations and gradients need networks whose graph is known; set both to false for others"
            )

    def _evidence(self, networks: Runnable) -> Evidence:
        searches, of_families = self._searches(), self._family_searches()
        names = [*searches, *of_families]
        pairs = [self._preferences(networks, search) for search in searches.values()]
        pairs += [self._family_preferences(networks, search) for search in of_families.values()]
        classes = {
            f"{SET}{index}.{name}": preferences[:, :, index]
            for index in range(NUM_SETS)
            for name, (preferences, _) in zip(names, pairs, strict=True)
        }
        sought: list[Search | FamilySearch] = [*searches.values(), *of_families.values()]
        found = {name: (search, trigger) for name, search, (_, trigger) in zip(names, sought, pairs, strict=True)}
        on_known, found_for_all = dict[str, Tensor](), _Found()
        known = None if self.known is None else self.known[: networks.num_classes].to(networks.dtype)
        if known is not None:
            on_known = self._on_known(networks, known)
            classes["own_answers"] = own_answers(list(on_known.values())[-1])
            few = known[:, :_SEARCHED_PER_CLASS]
            for name, search in searches.items() if self.config.next_class else ():
                classes[f"{NEXT}{name}"], trigger = self._next_answers(networks, few, search)
                found_for_all[f"{NEXT}{name}"] = (search, trigger)
            classes |= self._raised(networks, few.flatten(0, 1))
        sites: Mapping[str, Mapping[str, Tensor]] = {}
        parameters: Mapping[str, Mapping[str, Tensor]] = {}
        if isinstance(networks, Inspectable):
            if self.config.activations:
                sites = self._activations(networks, found, found_for_all, known, on_known)
            if self.config.gradients and known is not None:
                parameters = self._gradients(networks, known, found | found_for_all)
        return Evidence(classes=classes, sites=sites, parameters=parameters)

    def _on_known(self, networks: Runnable, known: Tensor) -> dict[str, Tensor]:
        """[B, classes, n, channels] of each site on known images, the logits last; these alone if no more is wanted."""
        images = known.flatten(0, 1)
        if self.config.activations and isinstance(networks, Inspectable):
            means = networks.site_means(images)
        else:
            means = {"": networks.logits(images)}
        return {site: values.reshape(len(networks), *known.shape[:2], -1) for site, values in means.items()}

    def _raised(self, networks: Runnable, images: Tensor) -> dict[str, Tensor]:
        """What warps of images, and stripes over them, raise."""
        config, answers = self.config, {}
        if config.num_warps:
            moved = warped(images, num_warps=config.num_warps, seed=config.seed)
            answers["warps"] = raised_answers(networks, images, moved)
        if config.num_stripes:
            moved = striped(images, num_stripes=config.num_stripes, seed=config.seed)
            answers["stripes"] = raised_answers(networks, images, moved)
        return answers

    def _activations(
        self,
        networks: Inspectable,
        found: _Found,
        found_for_all: _Found,
        known: Tensor | None,
        on_known: Mapping[str, Tensor],
    ) -> dict[str, dict[str, Tensor]]:
        """Each site's mean activations on backgrounds, their changes by what was found, and on known images by class.

        What was found for one class is put on the backgrounds it was found on, what was found for all of them on the
        known images. ``on_known`` holds the sites' means on each of these, [B, classes, n, channels].
        """
        backgrounds = self.backgrounds.to(networks.dtype)
        clean, each = means_of_sets(networks, backgrounds), (len(networks), *backgrounds.shape)
        sites = {site: {"mean": values.mean(-1, keepdim=True)} for site, values in clean.items()}
        for name, (search, trigger) in found.items():
            after = means_of_sets(networks, search.put(backgrounds.expand(each), trigger))
            for site, values in after.items():
                sites[site][name] = values - clean[site]
        if known is None:
            return sites
        few = known[:, :_SEARCHED_PER_CLASS]
        images = few.flatten(0, 1).unsqueeze(0).expand(len(networks), 1, -1, -1, -1, -1)
        for name, (search, trigger) in found_for_all.items():
            for site, values in means_of_sets(networks, search.put(images, trigger)).items():
                before = on_known[site][:, :, :_SEARCHED_PER_CLASS].mean((1, 2))
                sites[site][name] = values - before.unsqueeze(2)
        for site, values in on_known.items():
            sites[site][BY_CLASS] = values.mean(dim=2).mT - sites[site]["mean"]
        return sites

    def _gradients(self, networks: Inspectable, known: Tensor, found: _Found) -> dict[str, dict[str, Tensor]]:
        """Gradients on known images, without and with each thing that was found."""
        images, labels = known.flatten(0, 1), torch.arange(len(known), device=known.device)
        each, labels = (len(networks), *images.shape), labels.repeat_interleave(known.shape[1])
        parameters: dict[str, dict[str, Tensor]] = {}
        shown = {name: search.put(images.expand(each), trigger[:, 0]) for name, (search, trigger) in found.items()}
        for name, some in {"clean": images, **shown}.items():
            for parameter, gradient in loss_gradients(networks, some, labels).items():
                parameters.setdefault(parameter, {})[name] = gradient
        return parameters

    def _searches(self) -> dict[str, Search]:
        """The patch, and the changes of every reach."""
        size = self.backgrounds.shape[-2:]
        patch = Search((self.config.patch_size, self.config.patch_size), 1.0, is_patch=True)
        reaches = self.config.reaches
        changes = {f"change_{reach:g}": Search((size[0], size[1]), reach, is_patch=False) for reach in reaches}
        return {"patch": patch, **changes}

    def _family_searches(self) -> dict[str, FamilySearch]:
        """Triggers of other families."""
        config, like = self.config, self.backgrounds[0, 0]
        found = {f"pixels_{count}": FamilySearch(Pixels(count)) for count in config.pixel_counts}
        for amplitude in config.stripe_amplitudes:
            found[f"stripes_{amplitude:g}"] = FamilySearch(Stripes(amplitude), stripe_starts(like))
        for movement in config.warp_movements:
            drawn = drawn_warps(like.new_full((_NUM_WARPS,), movement), torch.Generator().manual_seed(config.seed))
            found[f"warps_{movement:g}"] = FamilySearch(Warps(2 * movement), drawn)
        return found

    def _preferences(self, networks: Runnable, search: Search) -> tuple[Tensor, Tensor]:
        """What a patch or change of its own for every class and set does, and the one that does most.

        Returns:
            [B, classes, sets, steps + 1], and what was found for the class that gained most in the end, for each set:
            [B, sets, 1, C, height, width].
        """
        channels = self.backgrounds.shape[2]
        start = self.backgrounds.new_zeros(len(networks), networks.num_classes, NUM_SETS, 1, channels, *search.size)
        seen, found = self._ascended(networks, search, start.to(networks.dtype), self.config.num_steps)
        return torch.stack(seen, dim=-1), _of_classes(found, (seen[-1] - seen[0]).mean(2))

    def _family_preferences(self, networks: Runnable, search: FamilySearch) -> tuple[Tensor, Tensor]:
        """The same of triggers of a family, [B, sets, 1, C, …], for the class that is preferred most in the end.

        The first look is without them. What a class gains says less than what it ends at: those that are far from any
        image gain most.
        """
        backgrounds, num_classes = self.backgrounds.to(networks.dtype), networks.num_classes
        few = backgrounds[:, :_FEW_BACKGROUNDS].flatten(0, 1)
        best = search.start(networks.logits, few, len(networks), num_classes)
        start = best[:, :, None, None].expand(-1, -1, NUM_SETS, -1, -1, -1, -1)
        before = self._preferred(networks, backgrounds.expand(*start.shape[:2], *backgrounds.shape))
        seen, found = self._ascended(networks, search, start, self.config.num_steps - 1)
        return torch.stack([before, *seen], dim=-1), _of_classes(found, seen[-1].mean(2))

    def _ascended(
        self, networks: Runnable, search: Search | FamilySearch, start: Tensor, num_steps: int
    ) -> tuple[list[Tensor], Tensor]:
        """Uphill for every class and set: what is preferred at each step, [B, classes, sets], and what was found."""
        backgrounds = self.backgrounds.to(networks.dtype)

        def preference(found: Tensor) -> tuple[Tensor, Tensor]:
            images = search.put(backgrounds.expand(*start.shape[:2], *backgrounds.shape), found)
            mean = self._preferred(networks, images)
            return mean.sum(), mean

        return search.ascend(preference, start, num_steps)

    @staticmethod
    def _preferred(networks: Runnable, images: Tensor) -> Tensor:
        """How much classes are preferred: [B, classes, sets], each on its images [B, classes, sets, n, C, H, W]."""
        num_classes = networks.num_classes
        wanted = torch.eye(num_classes, dtype=torch.bool, device=images.device)[None, :, None, None, :]
        logits = networks.logits(images.flatten(1, 3)).reshape(*images.shape[:4], num_classes)
        own = logits.masked_fill(~wanted, 0.0).sum(-1)
        return torch.mean(own - logits.masked_fill(wanted, -torch.inf).logsumexp(-1), dim=-1)

    def _next_answers(self, networks: Runnable, known: Tensor, search: Search) -> tuple[Tensor, Tensor]:
        """What one patch or change for all classes does that leads to each image's next class.

        Returns:
            [B, classes, 2 · (steps + 1)], and the patch or change, [B, 1, 1, C, height, width].
        """
        images = known.flatten(0, 1)
        start = images.new_zeros(len(networks), 1, images.shape[1], *search.size)

        def preference(found: Tensor) -> tuple[Tensor, Tensor]:
            logits = networks.logits(search.put(images.expand(len(networks), *images.shape), found))
            likelihood, answers = next_answers(logits.reshape(-1, *known.shape[:2], logits.shape[-1]))
            return likelihood.sum(), answers

        seen, found = search.ascend(preference, start, self.config.num_steps)
        return torch.cat(seen, dim=-1), found.unsqueeze(1)


def _of_classes(found: Tensor, standing: Tensor) -> Tensor:
    """What was found, [B, classes, …], for the class of each network that stands highest, [B, classes]."""
    return found[torch.arange(len(found), device=found.device), standing.argmax(1)]


_Found = dict[str, tuple[Search | FamilySearch, Tensor]]
"""Searches by name, and what each found: [B, sets, 1, C, height, width], or as a family has it."""
