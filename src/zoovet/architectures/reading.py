"""From named tensors to a module of an architecture: each tensor has its place in it, or nothing is read."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from zoovet.architectures.external import is_external
from zoovet.architectures.family import Candidate, Misfit, OpenArchitecture
from zoovet.architectures.installed import LibraryMatches
from zoovet.architectures.libraries import in_libraries, listed, of_libraries
from zoovet.architectures.library_index import COUNTER, common_prefix, indexed_names, library_index
from zoovet.architectures.names import ARCHITECTURES, Named, named
from zoovet.architectures.placing import WHOLE, external_for, loaded, require_all
from zoovet.errors import ZoovetError
from zoovet.networks import InputScaling
from zoovet.printable import printable, with_article
from zoovet.readers import FileContent
from zoovet.readers.named_layers import contents_in_words, without_bookkeeping
from zoovet.readers.parts import NothingFits, fitting_part
from zoovet.readers.tensors import require_real, shape_in_words, ways_to_give_a_shape

__all__ = ["NAMING_ASKED_FOR", "ReadModule", "match", "read_module"]

NAMING_ASKED_FOR = "give --architecture my_net.py:make or transformers:NAME"
"""The way out where nothing fits by names and shapes."""

_MAX_TITLES = 4
_PART = re.compile(r"([^/\\]*)-\d{5}-of-(\d{5})\.(safetensors|bin)$")
"""How the files of a state dict in several are called."""


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
            something open, or the file holds two networks that fit and differ; the message says what to give.
    """

    def read(tensors: Mapping[str, Tensor]) -> ReadModule:
        return _read(tensors, content.ordered, architecture, source, image)

    try:
        found, notes = fitting_part(content, source, read, _are_same)
    except NothingFits as error:
        raise error.refusals[0] from None
    return replace(found, notes=(*notes, *content.notes, *found.notes))


def _are_same(one: ReadModule, other: ReadModule) -> bool:
    tensors, others = one.module.state_dict(), other.module.state_dict()
    return tensors.keys() == others.keys() and all(torch.equal(tensors[name], others[name]) for name in tensors)


def _read(
    tensors: Mapping[str, Tensor],
    is_ordered: bool,
    architecture: str | None,
    source: str,
    image: tuple[int, ...] | None,
) -> ReadModule:
    notes: list[str] = []
    kept, scaling = without_bookkeeping(tensors, source, notes)
    require_real({name: tensor for name, tensor in kept.items() if tensor.dtype not in WHOLE}, source)
    length = len(common_prefix(kept))  # module., _orig_mod., net.
    kept = {name[length:]: tensor for name, tensor in kept.items()}
    num_counters = sum(name.endswith(COUNTER) for name in tensors)
    if num_counters:
        notes.append(f"left out: {num_counters} {COUNTER}, which no network computes with")
    size = None if image is None or len(image) < 2 else (image[-2], image[-1])
    found = match(kept, size, is_ordered=is_ordered) if architecture is None else []
    if architecture is None and (not found or any(map(_is_open, found))):
        theirs = in_libraries(kept)
        if theirs.fitting:
            architecture, note = of_libraries(theirs, kept, source, image)
            notes.append(note)
        elif not found:
            raise _unknown(kept, source, theirs)
    if architecture is not None and is_external(architecture):
        (module, kept), title = external_for(architecture, kept, source), architecture
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
            others = indexed_names({name: tuple(tensor.shape) for name, tensor in kept.items()})
            also = f"; {listed(others)} have these too" if others else ""
            notes.append(f"read as {title} by its names and shapes (--architecture {candidate.family}){also}")
    return ReadModule(
        module=loaded(module, kept, source, title),
        title=title,
        input_shape=shape,
        scaling=scaling,
        notes=tuple(notes),
    )


def _unknown(tensors: Mapping[str, Tensor], source: str, theirs: LibraryMatches) -> ZoovetError:
    """Why no architecture is found by names and shapes, and what to do."""
    if part := _PART.search(source):
        name, count, ending = part.groups()
        return ZoovetError(
            f"{source} is one of {int(count)} parts of a network: give their index, {name}.{ending}.index.json"
        )
    if theirs.elsewhere:
        names = " or ".join(theirs.elsewhere[:_MAX_TITLES])
        return ZoovetError(f"{source} has the names and shapes of {names}: {_way_to_install(theirs.elsewhere)}")
    versions = " or ".join(f"{library}'s ({known.version})" for library, known in library_index().items())
    return ZoovetError(
        f"{source} holds {contents_in_words(tensors)}: no built-in architecture by names and shapes "
        f"({', '.join(ARCHITECTURES)}), and none of {versions}; {NAMING_ASKED_FOR}"
    )


def _way_to_install(names: Sequence[str]) -> str:
    return f"pip install {' '.join(dict.fromkeys(name.partition(':')[0] for name in names))}"


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
            f"give {_full(candidate, architecture)}{_library_way(candidate, tensors)}",
            candidate.choices(_said(architecture)),
        )
    return candidate


def _is_open(candidate: Candidate) -> bool:
    """Whether more than the size of images is open."""
    return bool(candidate.open.keys() - {"image"})


def _library_way(candidate: Candidate, tensors: Mapping[str, Tensor]) -> str:
    """The way out where a library that is not there has such a network."""
    elsewhere = in_libraries(tensors).elsewhere[:1] if _is_open(candidate) else ()
    return f"; or --architecture {elsewhere[0]} ({_way_to_install(elsewhere)})" if elsewhere else ""


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
        require_all(module, shapes)
        try:
            module(torch.empty(2, *(tried.input_shape or ())))
        except (RuntimeError, ValueError, IndexError) as error:
            raise Misfit(f"has layers that do not fit one another: {printable(error)}") from None
    return candidate


def _require_channels(candidate: Candidate, image: tuple[int, ...], source: str) -> None:
    own = candidate.input_shape or ()
    if own != image:
        raise ZoovetError(
            f"{source} reads images of {shape_in_words(own)} (channels, height, width), given are "
            f"{shape_in_words(image)}"
        )
