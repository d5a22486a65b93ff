"""From named tensors to a module of an architecture: each tensor has its place in it, or nothing is read."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from zoovet.architectures.external import external_module, is_external
from zoovet.architectures.family import Candidate, Misfit, OpenArchitecture
from zoovet.architectures.installed import installed_matches
from zoovet.architectures.names import ARCHITECTURES, Named, named
from zoovet.errors import ZoovetError
from zoovet.networks import InputScaling
from zoovet.printable import printable, with_article
from zoovet.readers import FileContent
from zoovet.readers.named_layers import contents_in_words, without_bookkeeping
from zoovet.readers.tensor_names import is_average
from zoovet.readers.tensors import shape_in_words, usable, ways_to_give_a_shape

__all__ = ["ReadModule", "match", "read_module"]

_COUNTER = "num_batches_tracked"
_MAX_TITLES = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class ReadModule:
    """A module with a file's weights.

    Attributes:
        module: In evaluation mode, on the CPU.
        title: What it is, for people: ``ResNet-20``.
        input_shape: Of its images.
        scaling: The input scaling that stood among the tensors, or ``None``.
        notes: What was taken or left out, one line each.
    """

    module: nn.Module
    title: str
    input_shape: tuple[int, ...]
    scaling: InputScaling | None
    notes: tuple[str, ...]


def match(
    tensors: Mapping[str, Tensor], image: tuple[int, int] | None = None, *, is_ordered: bool = True
) -> list[Candidate]:
    """The built-in architectures that names and shapes of tensors fit.

    Args:
        tensors: A state dict, without what no network computes with; their numbers are not looked at.
        image: (height, width) of the images that the network reads, where that is known.
        is_ordered: Whether they stand in the order of registration.
    """
    found = []
    for family in ARCHITECTURES.values():
        plain = Named(family=family, chosen={}, wanted={}, image=None)
        try:
            found.append(_checked(plain, tensors, image, is_ordered=is_ordered))
        except Misfit:
            continue
    return found


def read_module(
    content: FileContent, architecture: str | None, source: str, *, image: tuple[int, ...] | None = None
) -> ReadModule:
    """The network of a file whose weights are of an architecture.

    Args:
        content: What the file holds.
        architecture: ``vgg:activation=elu``, ``resnet20``, ``torchvision:NAME``, ``my_net.py:make``, …; ``None``
            where names and shapes are to tell.
        source: The file, for messages.
        image: ``(channels, height, width)`` of reference images, where there are some, or ``(features,)``.

    Raises:
        ZoovetError: The weights are not of the architecture, or names and shapes fit none or several, or leave
            something open; the message says what to give.
    """
    refusals: list[ZoovetError] = []
    ways = [part for part in content.parts if not is_average(part)] or [""]
    for part in ways:
        own = {name[len(part) :]: tensor for name, tensor in content.tensors.items() if name.startswith(part)}
        try:
            read = _read(own, content.ordered, architecture, source, image)
        except ZoovetError as error:
            refusals.append(error)
            continue
        others = len(content.parts) - 1
        beside = (
            (f"read is '{printable(part[:-1], 40)}'; the file holds {others} more beside it",) if others > 0 else ()
        )
        return ReadModule(
            module=read.module,
            title=read.title,
            input_shape=read.input_shape,
            scaling=read.scaling,
            notes=(*beside, *content.notes, *read.notes),
        )
    raise refusals[0]


def _read(
    tensors: Mapping[str, Tensor],
    is_ordered: bool,
    architecture: str | None,
    source: str,
    image: tuple[int, ...] | None,
) -> ReadModule:
    notes: list[str] = []
    kept, scaling = without_bookkeeping(tensors, source, notes)
    kept = _without_prefix(kept)
    num_counters = sum(name.endswith(_COUNTER) for name in tensors)
    if num_counters:
        notes.append(f"left out: {num_counters} {_COUNTER}, which no network computes with")
    size = None if image is None or len(image) < 2 else (image[-2], image[-1])
    found = match(kept, size, is_ordered=is_ordered) if architecture is None else []
    published = _published(found, kept)
    if architecture is None and (published or not found):
        architecture = published or _of_library(kept, source)
        notes.append(f"read as {architecture} by its names and shapes (--architecture {architecture})")
    if architecture is not None and is_external(architecture):
        (module, kept), title = _external(architecture, kept, source), architecture
        if image is None:
            raise ZoovetError(
                f"{source}: the size that {printable(architecture, 60)} reads is not known: give "
                f"{ways_to_give_a_shape((3, 224, 224))}"
            )
        shape = image
    else:
        candidate = _candidate(kept, is_ordered, architecture, source, size, found)
        if image is not None and candidate.input_shape is not None and len(candidate.input_shape) == 3:
            _require_channels(candidate, image, source)
        module, title, shape = candidate.build(), candidate.title, candidate.input_shape or ()
        if architecture is None:
            notes.append(f"read as {title} by its names and shapes (--architecture {candidate.family})")
    return ReadModule(
        module=_loaded(module, kept, source, title),
        title=title,
        input_shape=shape,
        scaling=scaling,
        notes=tuple(notes),
    )


def _published(found: Sequence[Candidate], tensors: Mapping[str, Tensor]) -> str | None:
    """What the installed library calls a network that is open else, and has its names and shapes."""
    if not any(one.open and one.published for one in found):
        return None
    fitting = installed_matches({name: tuple(tensor.shape) for name, tensor in tensors.items()}) or []
    return fitting[0] if len(fitting) == 1 else None


def _of_library(tensors: Mapping[str, Tensor], source: str) -> str:
    """The one network of an installed library that has a file's names and shapes.

    Raises:
        ZoovetError: None has, or several have.
    """
    fitting = installed_matches({name: tuple(tensor.shape) for name, tensor in tensors.items()})
    if fitting is not None and len(fitting) == 1:
        return fitting[0]
    if fitting:
        names = " or ".join(fitting[:_MAX_TITLES])
        raise OpenArchitecture(
            f"{source} has the names and shapes of several networks: give --architecture {names}", fitting
        )
    also = "" if fitting is None else ", and none of torchvision's"
    way = ", or pip install torchvision, whose networks are known by names and shapes" if fitting is None else ""
    raise ZoovetError(
        f"{source} holds {contents_in_words(tensors)}: no built-in architecture by names and shapes "
        f"({', '.join(ARCHITECTURES)}){also}; give --architecture my_net.py:make, timm:NAME or transformers:NAME{way}"
    )


def _candidate(
    tensors: Mapping[str, Tensor],
    is_ordered: bool,
    architecture: str | None,
    source: str,
    size: tuple[int, int] | None,
    found: Sequence[Candidate],
) -> Candidate:
    """The architecture that was named, or the only one of those found by names and shapes."""
    if architecture is None:
        if len(found) > 1:
            forms = " or ".join(one.family for one in found[:_MAX_TITLES])
            raise OpenArchitecture(
                f"{source} fits several architectures by its names and shapes: give --architecture {forms}",
                (choice for one in found for choice in one.choices()),
            )
        candidate = found[0]
    else:
        try:
            candidate = _checked(named(architecture), tensors, size, is_ordered=is_ordered)
        except Misfit as error:
            others = [with_article(one.title) for one in match(tensors, size, is_ordered=is_ordered)]
            hint = f"; it may be {' or '.join(others[:_MAX_TITLES])}" if others else ""
            raise ZoovetError(f"{source} is no {printable(architecture, 60)}: it {error}{hint}") from None
    if candidate.open:
        raise OpenArchitecture(
            f"{source} is {with_article(candidate.title)} whose {' and '.join(candidate.open)} no name or shape tells: "
            f"give {_full(candidate, architecture)}{_published_way(candidate)}",
            candidate.choices(_said(architecture)),
        )
    return candidate


def _published_way(candidate: Candidate) -> str:
    """The way out where it is a published network, whose library is not there."""
    return f"; or --architecture {candidate.published} (pip install torchvision)" if candidate.published else ""


def _full(candidate: Candidate, architecture: str | None) -> str:
    """The forms, with what was chosen already in front."""
    said = _said(architecture)
    return candidate.forms.replace(f"{candidate.family}:", f"{candidate.family}:{said}{',' if said else ''}", 1)


def _said(architecture: str | None) -> str:
    """What was chosen behind an architecture's name."""
    return "" if architecture is None else architecture.partition(":")[2]


def _checked(
    asked: Named, tensors: Mapping[str, Tensor], image: tuple[int, int] | None, *, is_ordered: bool
) -> Candidate:
    """The candidate of a family, after its module took each of the tensors and ran.

    Raises:
        Misfit: It did not.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    candidate = asked.match(shapes, image, is_ordered=is_ordered)
    tried = candidate
    if candidate.open:  # names and shapes do not depend on what is chosen
        tried = asked.with_first_choices(candidate).match(shapes, image, is_ordered=is_ordered)
    with torch.device("meta"), torch.no_grad():
        module = tried.build().eval()
        _require_all(module, shapes)
        try:
            module(torch.empty(2, *(tried.input_shape or ())))
        except (RuntimeError, ValueError, IndexError) as error:
            raise Misfit(f"has layers that do not fit one another: {printable(error)}") from None
    return candidate


def _require_all(module: nn.Module, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Check that a module's tensors are those of a state dict, in their shapes.

    Raises:
        Misfit: One is missing, too many, or of another shape.
    """
    own = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items() if not name.endswith(_COUNTER)}
    for name, shape in own.items():
        if name not in shapes:
            raise Misfit(f"lacks {printable(name, 60)} ({shape_in_words(shape)})")
        if shapes[name] != shape:
            raise Misfit(
                f"has {printable(name, 60)} of {shape_in_words(shapes[name])}, expected {shape_in_words(shape)}"
            )
    for name in shapes:
        if name not in own:
            raise Misfit(f"has {printable(name, 60)} ({shape_in_words(shapes[name])}), which has no place in it")


def _external(architecture: str, tensors: Mapping[str, Tensor], source: str) -> tuple[nn.Module, dict[str, Tensor]]:
    """The module of a library or of the user's own, and the tensors by its names for them.

    A library's has as many classes as the tensors say that are of another length only; files may be sorted by name.
    """
    module = external_module(architecture, None)
    names = [name for name in module.state_dict() if not name.endswith(_COUNTER)]
    renamed = {f"{_prefix(names)}{name}": tensor for name, tensor in tensors.items()}
    shapes = {name: tuple(tensor.shape) for name, tensor in renamed.items()}
    try:
        _require_all(module, shapes)
    except Misfit as error:
        own = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items() if name in shapes}
        lengths = {shapes[name][0] for name, shape in own.items() if _is_longer_or_shorter(shapes[name], shape)}
        if architecture.rpartition(":")[0].endswith(".py") or len(lengths) != 1:
            raise ZoovetError(f"{source} is no {printable(architecture, 60)}: it {error}") from None
        (num_classes,) = lengths
        module = external_module(architecture, num_classes)
        try:
            _require_all(module, shapes)
        except Misfit as again:
            said = f"{printable(architecture, 60)} of {num_classes} classes"
            raise ZoovetError(f"{source} is no {said}: it {again}") from None
    return module, renamed


def _is_longer_or_shorter(given: tuple[int, ...], own: tuple[int, ...]) -> bool:
    """Whether shapes differ in their first axis alone, as a last layer's do by its classes."""
    return len(given) == len(own) > 0 and given[0] != own[0] and given[1:] == own[1:]


def _require_channels(candidate: Candidate, image: tuple[int, ...], source: str) -> None:
    own = candidate.input_shape or ()
    if own != image:
        raise ZoovetError(
            f"{source} reads images of {shape_in_words(own)} (channels, height, width), given are "
            f"{shape_in_words(image)}"
        )


def _without_prefix(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names without the parts that all of them begin with: ``module.``, ``_orig_mod.``, ``net.``."""
    length = len(_prefix(tensors))
    return {name[length:]: tensor for name, tensor in tensors.items()}


def _prefix(names: Iterable[str]) -> str:
    """The parts that all names begin with, each with its dot; the last two of a name are none of them."""
    apart = [name.split(".")[:-2] for name in names]
    shared = itertools.takewhile(lambda parts: len(set(parts)) == 1, zip(*apart, strict=False))
    return "".join(f"{parts[0]}." for parts in shared)


def _is_whole(given: Tensor, own: Tensor) -> bool:
    """Whether a tensor holds whole numbers where the module has such, as in a table of positions."""
    return given.dtype == own.dtype and given.layout == torch.strided and own.dtype in (torch.int32, torch.int64)


def _loaded(module: nn.Module, tensors: Mapping[str, Tensor], source: str, title: str) -> nn.Module:
    own = module.state_dict()
    whole = {name: one for name, one in tensors.items() if name in own and _is_whole(one, own[name])}
    numbers = usable({name: tensor for name, tensor in tensors.items() if name not in whole}, source)
    dtype = next(iter(numbers.values())).dtype
    counters = {name: tensor for name, tensor in own.items() if name.endswith(_COUNTER)}
    given: Any = OrderedDict(numbers | whole | counters)
    given._metadata = getattr(own, "_metadata", {})  # versions, which some modules ask for
    try:
        module.to(dtype).load_state_dict(given, strict=True)
    except Exception as error:  # whatever a library's or the user's own module raises
        raise ZoovetError(f"{source} does not fit {printable(title)}: {printable(error)}") from error
    return module.eval().requires_grad_(False)
