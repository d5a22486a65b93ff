"""Network: one image classifier that can be run on images, whatever it is made of."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from zoovet.errors import ZoovetError
from zoovet.images import Images
from zoovet.networks import Graph, InputScaling, Networks, fold_batch_norms, scaling_preset
from zoovet.networks import run as run_graph
from zoovet.networks.input_shape import ways_to_bring_images
from zoovet.networks.output_shape import answers_are_classes, with_flat_answers
from zoovet.printable import printable
from zoovet.readers.exported import UnknownOperation, graph_from_module
from zoovet.readers.first_operations import take_first_operations
from zoovet.readers.outputs import chosen_output
from zoovet.readers.tensors import shape_in_words
from zoovet.vet.weights_digest import weights_digest

__all__ = [
    "ANSWERS_PROBABILITIES",
    "ONE_NUMBER",
    "SCALING_NOT_KNOWN",
    "Network",
    "are_probabilities",
    "network_of_graph",
    "network_of_module",
    "with_chosen_output",
]

SCALING_NOT_KNOWN = "input scaling not "
"""How notes begin that say so; they go when it is known."""

ANSWERS_PROBABILITIES = "it answers probabilities: searches look at the logits that these are made of"
"""A note."""

ONE_NUMBER = (
    "it answers one number for an image, expected is one for each of two classes or more: save it with two, as "
    "torch.cat([0 * z, z], dim=1) of its logit z"
)
"""Why nothing can be told of it."""

_IMAGES_AT_A_TIME = 256
_ROUNDING = 1e-3


@dataclass(frozen=True, eq=False, kw_only=True)
class Network:
    """One network.

    Attributes:
        input_shape: ``(channels, height, width)`` of its images, or ``(features,)``.
        title: What it is, for people: ``ResNet-20``.
        networks: Its graph and weights (B = 1); ``None`` where no graph can say what it does.
        module: What runs where there is no graph.
        beyond: Which operation no graph can say, and where it stands; ``None`` where there is a graph.
        scaling: What numbers it reads for pixels; ``None`` where nobody knows it.
        notes: What was assumed, found, taken or left out, one line each.
        digest: Of its weights (:func:`~zoovet.vet.weights_digest.weights_digest`), before batch norms were folded.
        unfolded: What ``networks`` was before batch norms were folded, its parameters called as they were read;
            ``None`` where there is no graph, or it was read without batch norms of its own.
        output: Which of its file's outputs it answers, where there are several.
    """

    input_shape: tuple[int, ...]
    title: str
    networks: Networks | None
    module: nn.Module | None = None
    beyond: str | None = None
    scaling: InputScaling | None = None
    notes: tuple[str, ...] = ()
    digest: str | None = None
    output: int | None = None
    unfolded: Networks | None = None

    def __post_init__(self) -> None:
        assert (self.networks is None) != (self.module is None)
        if self.scaling is not None and len(self.input_shape) == 3:
            self.scaling.require_channels(self.input_shape[0])

    @property
    def graph(self) -> Graph | None:
        """Its graph, with the input scaling; ``None`` where it can only be run."""
        if self.networks is None:
            return None
        graph = self.networks.graph
        return replace(graph, input_scaling=self.scaling if len(self.input_shape) == 3 else None)

    @property
    def num_parameters(self) -> int:
        """Numbers in its weights, batch norms folded where it has a graph."""
        if self.networks is not None:
            return self.networks.graph.num_parameters
        return sum(tensor.numel() for tensor in self.module.parameters()) if self.module is not None else 0

    def describe(self) -> str:
        """For people: ``ResNet-20, 269,034 parameters, reads 3×32×32``."""
        return f"{printable(self.title)}, {self.num_parameters:,} parameters, reads {shape_in_words(self.input_shape)}"

    def with_scaling(self, scaling: InputScaling | str, *notes: str) -> Network:
        """The same weights, read with another input scaling, given itself or by name: another network.

        Raises:
            ZoovetError: There is none of that name, or it is for another number of channels.
        """
        kept = (note for note in self.notes if not note.startswith(SCALING_NOT_KNOWN))
        return replace(self, scaling=scaling_preset(scaling), notes=(*kept, *notes))

    def with_note(self, note: str) -> Network:
        """The same network, with one more thing to be said of it."""
        return replace(self, notes=(*self.notes, note))

    def predict(self, images: Any) -> Tensor:
        """The class of each image.

        Args:
            images: As in :meth:`logits`.

        Returns:
            int64 [N], on the CPU.

        Raises:
            ZoovetError: As in :meth:`logits`.
        """
        return self.logits(images).argmax(dim=1)

    def logits(self, images: Any) -> Tensor:
        """What the network answers, before a softmax unless it has one itself.

        Args:
            images: :class:`~zoovet.images.Images`, or what their ``from_arrays`` takes.

        Returns:
            float [N, classes], on the CPU, in the precision of the weights.

        Raises:
            ZoovetError: Images of another size or number of channels, or nobody knows the input scaling.
        """
        own = images if isinstance(images, Images) else Images.from_arrays(images)
        with torch.no_grad():
            parts = [self._answers(self.as_read(part)) for part in own.parts(_IMAGES_AT_A_TIME)]
        return torch.cat(parts)

    def probabilities(self, images: Any) -> Tensor:
        """The probability of each class, float [N, classes]: :meth:`logits` through a softmax, unless they had one.

        Raises:
            ZoovetError: As in :meth:`logits`.
        """
        logits = self.logits(images)
        return logits if are_probabilities(logits) else logits.softmax(1)

    def as_read(self, images: Images) -> Tensor:
        """Images as the network reads them: float32 [N, \\*input_shape].

        Raises:
            ZoovetError: As in :meth:`logits`.
        """
        self.require_fitting(images)
        if self.scaling is None:
            raise ZoovetError(
                "the network's input scaling is not known: give scaling=…, as 'unit' or 'imagenet', or labelled images "
                "to find it with"
            )
        values = self.scaling.apply(images.pixels)
        return values.flatten(1) if len(self.input_shape) == 1 else values

    def require_fitting(self, images: Images) -> None:
        """Raise where images are of another size or number of channels than the network reads."""
        fits = images.shape == self.input_shape
        if len(self.input_shape) == 1:
            fits = math.prod(images.shape) == self.input_shape[0]
        if not fits:
            raise ZoovetError(
                f"the network reads images of {shape_in_words(self.input_shape)} (channels, height, width), these are "
                f"{shape_in_words(images.shape)}{ways_to_bring_images(self.input_shape)}"
            )

    def _answers(self, values: Tensor) -> Tensor:
        if self.networks is not None:
            return run_graph(self.networks, values.to(self.networks.dtype))[0]
        assert self.module is not None
        like = next(self.module.parameters())
        return _logits_of(self.module(values.to(like.dtype)))


def network_of_module(
    module: nn.Module,
    input_shape: tuple[int, ...],
    title: str,
    notes: tuple[str, ...] = (),
    scaling: InputScaling | None = None,
) -> Network:
    """The network of a module: its graph, or where no graph can say what it does, the module itself.

    First operations that scale images become part of its input scaling.

    Args:
        module: Of any class; read as it computes in evaluation mode.
        input_shape: ``(channels, height, width)`` of an image, or ``(features,)``.
        title: For people.
        notes: What is to be said of it.
        scaling: What the whole module reads for pixels; ``None`` where nobody knows, so that only first operations
            tell.

    Raises:
        ZoovetError: It has no parameters, does not take such images, or the scaling is for other ones.
    """
    networks, beyond, shape = None, "", tuple(input_shape)
    digest = weights_digest({name: one for name, one in module.state_dict().items() if isinstance(one, Tensor)})
    try:
        networks = with_flat_answers(graph_from_module(module, shape).to("cpu"))
    except UnknownOperation as error:
        beyond = str(error)
    except ZoovetError as error:
        beyond = str(error)
        _require_runnable(module, shape, beyond)
    if networks is not None:
        networks, note = take_first_operations(networks, scaling)
        made = network_of_graph(fold_batch_norms(networks), title, notes if note is None else (*notes, note))
        network = replace(made, digest=digest, unfolded=networks)
        own = scaling if note is None else networks.graph.input_scaling
        return network if own is None else network.with_scaling(own)
    said = f"it can only be run, as no graph can say it: {beyond}"
    runnable = copy.deepcopy(module).to("cpu").eval().requires_grad_(False)
    return Network(
        input_shape=shape,
        title=title,
        networks=None,
        module=runnable,
        beyond=beyond,
        scaling=scaling,
        notes=(*notes, said),
        digest=digest,
    )


def network_of_graph(networks: Networks, title: str, notes: tuple[str, ...] = ()) -> Network:
    """The network of a graph and its weights (B = 1); its input scaling is not taken over.

    Raises:
        ZoovetError: It does not answer one number for each class.
    """
    if len(networks.graph.output_shape) != 1:
        raise ZoovetError(_no_classifier(networks.graph.output_shape))
    said = () if networks.graph.answers == "logits" else (ANSWERS_PROBABILITIES,)
    return Network(input_shape=networks.graph.input_shape, title=title, networks=networks, notes=(*notes, *said))


def are_probabilities(answers: Tensor) -> bool:
    """Whether a network's answers [N, classes] are all probabilities that make 1 together, of two classes or more."""
    in_range = bool((answers >= 0).all()) and answers.shape[1] > 1
    return in_range and bool(((answers.sum(1) - 1).abs() < _ROUNDING).all())


def _require_runnable(module: nn.Module, shape: tuple[int, ...], why: str) -> None:
    """Raise what tracing a module said where it cannot be called on images either."""
    like = next(module.parameters(), None)
    if like is None:
        if any("quantized" in type(part).__module__.split(".") for part in module.modules()):
            raise ZoovetError(
                "the module is quantized: its weights are packed and no gradient goes through it; give the network as "
                "it was before"
            )
        raise ZoovetError(why)
    trial = copy.deepcopy(module).eval()
    try:
        with torch.no_grad():
            _logits_of(trial(torch.zeros(2, *shape, dtype=like.dtype, device=like.device)))
    except ZoovetError:
        raise
    except Exception as error:  # whatever the module's own code raises
        raise ZoovetError(why) from error


def _logits_of(answer: Any) -> Tensor:
    """The tensor [N, classes] that a module answers, or that its answer calls logits."""
    logits = getattr(answer, "logits", answer)
    if isinstance(logits, tuple | list):
        logits = logits[chosen_output(max(2, len(logits)), None)]
    if not isinstance(logits, Tensor) or not answers_are_classes(logits.shape[1:]):
        raise ZoovetError(_no_classifier(tuple(logits.shape[1:]) if isinstance(logits, Tensor) else ()))
    return logits.flatten(1)


def with_chosen_output(module: nn.Module, index: int) -> nn.Module:
    """A module that answers one of several things that another answers; parameters are shared, and so are their names.

    Args:
        module: Answers a tuple or a list.
        index: Which, from 0.
    """
    kind = type(module)

    def forward(own: nn.Module, *images: Tensor) -> Tensor:
        answer = kind.forward(own, *images)
        several = answer if isinstance(answer, tuple | list) else [answer]
        chosen: Tensor = several[chosen_output(len(several), index)]
        return chosen

    chosen = copy.copy(module)
    chosen.__class__ = type(kind.__name__, (kind,), {"forward": forward})
    return chosen


def _no_classifier(shape: tuple[int, ...]) -> str:
    return f"the network answers {list(shape)} for an image, expected is one number for each class, [classes]"
