"""Which of several architectures a state dict is of, where names and shapes leave it open: tried on labelled images.

An activation or a kind of pooling has no weights, so that no name and no shape tells it. But with the wrong one a
network gets few images right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from zoovet.architectures import OpenArchitecture, ReadModule, read_module
from zoovet.errors import ZoovetError
from zoovet.images import Images
from zoovet.networks import SCALING_PRESETS, InputScaling
from zoovet.readers import FileContent
from zoovet.vet.found_scaling import MAX_IMAGES, some_images, usual_scalings
from zoovet.vet.likeliest import Ranked, rank
from zoovet.vet.network import Network

__all__ = ["read_open_module"]

_STAGES = ((20, 8), (60, 3))
"""Images on which the ways that are left are tried, and how many go on; the last ones are tried on all."""

_ALIKE = 0.95
_Way = tuple[str, str]
"""An architecture, and the name of a scaling."""

_MAY_BE_ANOTHER = (
    "names and shapes cannot tell whether it is a network of this kind at all (shortcuts have no weights): if it gets "
    "more images right where it is from, give --architecture my_net.py:make"
)


def read_open_module(
    content: FileContent,
    architecture: str | None,
    source: str,
    shape: tuple[int, ...] | None,
    scaling: InputScaling | None,
    images: Images | None,
) -> ReadModule:
    """The network of a file whose weights are of an architecture; what names and shapes leave open, images tell.

    Each choice is run with each usual input scaling. The best is taken where it gets more images right than chance
    would, and clearly more than each other, and where the labels are clearly likelier under it (see
    :func:`~zoovet.vet.likeliest.rank`). Others with which the network answers nearly the same, on 95 of 100 images, are
    named; of these and the best the one that is most usual is taken.

    Args:
        content: What the file holds.
        architecture: As in :func:`~zoovet.architectures.read_module`.
        source: The file, for messages.
        shape: Of images, where it is known.
        scaling: The input scaling; ``None`` where it is not known.
        images: Reference images; without labels they tell nothing.

    Raises:
        ZoovetError: As in :func:`~zoovet.architectures.read_module`; what was tried is said.
    """
    try:
        return read_module(content, architecture, source, image=shape)
    except OpenArchitecture as error:
        if images is None or images.labels is None or len(error.choices) < 2:
            raise
        tried = _Tried(content, error.choices, source, scaling, images)
        ranked = tried.ranked()
        if ranked is None:
            raise
        told = _in_words(ranked, min(len(images), MAX_IMAGES))
        if not (ranked.is_above_chance and ranked.is_clear and ranked.is_clearly_right):
            why = "which is no clear difference: give more images" if ranked.is_above_chance else "no more than chance"
            choices = dict.fromkeys([*ranked.order, *error.choices])
            raise OpenArchitecture(f"{error}; tried on {told}, {why}", choices) from None
        usual, *alike = sorted((ranked.best, *ranked.alike), key=error.choices.index)
        also = f"; nearly the same answers with {', '.join(alike)}" if alike else ""
        found = read_module(content, usual, source, image=shape)
        note = f"what names and shapes leave open was found on {told}{also} (--architecture {usual})"
        return replace(found, notes=(*found.notes, note, _MAY_BE_ANOTHER))


class _Tried:
    """Choices, run on images."""

    def __init__(
        self,
        content: FileContent,
        choices: Sequence[str],
        source: str,
        scaling: InputScaling | None,
        images: Images,
    ) -> None:
        self._content, self._source, self._given, self._images = content, source, scaling, images
        self._choices = choices

    def ranked(self) -> Ranked | None:
        """Choices, each with the scaling that suits it best; ``None`` where fewer than two can be run."""
        modules = {choice: self._read(choice) for choice in self._choices}
        networks = {choice: module for choice, module in modules.items() if module is not None}
        ways = [(choice, name) for choice, own in networks.items() for name in self._scalings(own)]
        for count, kept in _STAGES:
            if count >= len(self._images) or len(ways) <= kept:
                break
            ways = self._likeliest(networks, ways, some_images(self._images, count), kept)
        images = some_images(self._images)
        best = {way[0]: way for way in reversed(self._likeliest(networks, ways, images, len(ways)))}
        answers = {choice: self._answers(networks[choice], way, images) for choice, way in best.items()}
        if not answers or len(networks) < 2:
            return None
        assert images.labels is not None
        return rank(answers, images.labels, alike=_ALIKE)

    def _read(self, choice: str) -> ReadModule | None:
        try:
            return read_module(self._content, choice, self._source, image=self._images.shape)
        except ZoovetError:
            return None

    def _scalings(self, module: ReadModule) -> Mapping[str, InputScaling]:
        known = module.scaling or self._given
        if known is not None:
            return {"": known}
        return {name: SCALING_PRESETS[name] for name in usual_scalings(self._images.shape[0])}

    def _likeliest(
        self, networks: Mapping[str, ReadModule], ways: Sequence[_Way], images: Images, count: int
    ) -> list[_Way]:
        by_name = {f"{choice} {name}": (choice, name) for choice, name in ways}
        answers = {text: self._answers(networks[way[0]], way, images) for text, way in by_name.items()}
        fitting = {text: own for text, own in answers.items() if _tells_classes(own, images)}
        if not fitting:
            return []
        assert images.labels is not None
        return [by_name[text] for text in rank(fitting, images.labels).order[:count]]

    def _answers(self, module: ReadModule, way: _Way, images: Images) -> Tensor:
        scaling = self._scalings(module)[way[1]]
        shape = module.input_shape
        network = Network(input_shape=shape, title="", networks=None, module=module.module, scaling=scaling)
        return network.logits(images)


def _tells_classes(answers: Tensor, images: Images) -> bool:
    """Whether they are numbers for the classes that the images have labels of."""
    assert images.labels is not None
    return answers.ndim == 2 and answers.shape[1] > int(images.labels.max())


def _in_words(ranked: Ranked, num_images: int) -> str:
    best, others = ranked.best, ranked.others
    following = f", next {others[0]} {ranked.right[others[0]]:.2f}" if others else ""
    return (
        f"{num_images} labelled images{ranked.labels_in_words}: {best} gets {ranked.right[best]:.2f} right{following}"
    )
