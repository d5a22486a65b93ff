"""Weight files from elsewhere: reading them for the detector or repairer that knows their graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from zoovet.architectures import OpenArchitecture, require_known
from zoovet.errors import ZoovetError
from zoovet.images import Images
from zoovet.networks import Graph, InputScaling, Networks
from zoovet.printable import printable
from zoovet.readers import FileContent, Reading, contents_in_words, networks_from_content, read_content, says_its_graph
from zoovet.readers.layer_order import LayerOrderError
from zoovet.readers.outputs import chosen_output
from zoovet.readers.state_dicts import GraphMisfitError
from zoovet.vet.candidates import Candidate
from zoovet.vet.known_graphs import KnownNetwork
from zoovet.vet.network import SCALING_NOT_KNOWN, Network
from zoovet.vet.other_networks import described, parts_with_scalings
from zoovet.vet.reading import network_from_content
from zoovet.vet.recognition import distinct_graphs, known_to, unknown_in_words
from zoovet.vet.weights_digest import digest_of, weights_digest

__all__ = ["NobodyKnows", "ReadOptions", "Suspects", "candidate_for", "load_suspects", "networks_in", "one_network"]

_SAYS_ITSELF = "it says itself what its network is; the architecture given was not used"


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """What its user knows of a weight file that it does not say itself.

    Attributes:
        activation: Hidden activation of a file without a graph; ``None`` where the weights settle it.
        order: Names of its layers as they run; ``None`` where shapes and names settle it.
        scaling: Input scaling of networks whose file does not say it; ``None`` where nobody knows.
        architecture: What a file without a graph holds, by name; ``None`` where its weights are to tell.
        images: Reference images; where they have labels, input scalings that nobody knows are found on them.
        input_shape: ``(channels, height, width)`` of an image, or ``(features,)``, where the file leaves it open and
            there are no images.
        output: Which of several things that the networks answer are their classes, from 0.

    Raises:
        ZoovetError: There is no architecture of that name.
    """

    activation: str | None = None
    order: tuple[str, ...] | None = None
    scaling: InputScaling | None = None
    architecture: str | None = None
    images: Images | None = None
    input_shape: tuple[int, ...] | None = None
    output: int | None = None

    def __post_init__(self) -> None:
        if self.architecture is not None:
            require_known(self.architecture)

    @property
    def shape(self) -> tuple[int, ...] | None:
        """What is known of the shape of an image."""
        return self.input_shape if self.images is None else self.images.shape


class NobodyKnows(ZoovetError):
    """A file was read, and none of the candidates knows its networks.

    Args:
        message: One line that says so.
        networks: The networks.
    """

    def __init__(self, message: str, networks: Sequence[Network]) -> None:
        super().__init__(message)
        self.networks = tuple(networks)


@dataclass(frozen=True, eq=False, kw_only=True)
class Suspects:
    """Networks of a file, and who knows them.

    Attributes:
        parts: In the order of the file, those of one input scaling that follow each other together.
        candidate: The detector or repairer that knows their graph.
        notes: What was assumed, taken or left out, one line each, without the file's name.
        content: What the file holds besides.
        known: Of a file that says its network's graph, that network.
        digest: Of the file's weights (:func:`~zoovet.vet.weights_digest.weights_digest`); ``None`` where the graph
            names them.
    """

    parts: tuple[Networks, ...]
    candidate: Candidate
    notes: tuple[str, ...]
    content: FileContent
    known: KnownNetwork | None = None
    digest: str | None = None

    @property
    def num_networks(self) -> int:
        """Networks in the file."""
        return sum(map(len, self.parts))


def load_suspects(path: Path, candidates: Sequence[Candidate], options: ReadOptions, kind: str) -> Suspects:
    """The networks in a file, and who knows them.

    They are of the graph that the file names, or else of the one among the candidates' that its weights fit.

    Args:
        path: safetensors, a state dict by ``torch.save``, or a file that says its network, as ONNX and Keras do.
        candidates: Detectors or repairers; one at least.
        options: What is known of the file besides.
        kind: What the candidates are, for messages: ``detector`` or ``repairer``.

    Raises:
        NobodyKnows: It was read, and no candidate knows what it holds.
        ZoovetError: The file cannot be read or is damaged, fits no graph, or fits several, or several models that know
            one graph; the order of its layers is open; or its input scaling is another than that of the options. The
            message says which and what settles it.
    """
    content = read_content(path)
    if content.graph is not None:
        return _of_a_graph(content, path, candidates, options, kind)
    if says_its_graph(content):
        chosen_output(1, options.output)
        reading = networks_from_content(content, str(path), scaling=options.scaling, order=options.order)
        if options.architecture is not None:
            reading = replace(reading, notes=(*reading.notes, _SAYS_ITSELF))
    elif options.architecture is not None:
        reading = _of_an_architecture(content, path, candidates, options, kind)
    else:
        reading = _of_a_known_graph(content, path, candidates, options, kind)
    parts, notes = parts_with_scalings(reading.networks, options.images, str(path))
    said = tuple(dict.fromkeys((*reading.notes, *notes)))
    digest = None if says_its_graph(content) else weights_digest(content.tensors)
    graph = reading.networks.graph
    if not _is_given(candidates) and not any(graph in candidate.graphs for candidate in candidates):
        networks = [one_network(network, said, digest) for part in parts for network in part]
        raise NobodyKnows(f"{path} holds a network that no shipped {kind} knows: {_described(graph)}", networks)
    candidate = candidate_for(graph, str(path), candidates, kind)
    return Suspects(parts=parts, candidate=candidate, notes=said, content=content, digest=digest)


def networks_in(
    path: Path, candidates: Sequence[Candidate], options: ReadOptions, kind: str
) -> tuple[tuple[Network, ...], tuple[str, ...]]:
    """A file's networks, whoever knows them, and what is to be said of them beside their own notes.

    Args:
        path: As in :func:`load_suspects`.
        candidates: As in :func:`load_suspects`.
        options: As in :func:`load_suspects`.
        kind: As in :func:`load_suspects`.

    Raises:
        ZoovetError: As in :func:`load_suspects`, but where no candidate knows them.
    """
    try:
        suspects = load_suspects(path, candidates, options, kind)
    except NobodyKnows as error:
        return error.networks, ()
    networks = (network for part in suspects.parts for network in part)
    return tuple(one_network(network, (), suspects.digest) for network in networks), suspects.notes


def _of_a_graph(
    content: FileContent, path: Path, candidates: Sequence[Candidate], options: ReadOptions, kind: str
) -> Suspects:
    """The network of a file that says its graph, where one of the candidates knows it."""
    network = network_from_content(
        content, printable(path), None, options.scaling, options.images, options.input_shape, options.output
    )
    if options.architecture is not None:
        network = network.with_note(_SAYS_ITSELF)
    found = known_to(network, candidates, kind)
    if found is None:
        raise NobodyKnows(f"{printable(path)}: {unknown_in_words(network, candidates, kind)}", [network])
    return Suspects(
        parts=(found[0].networks,),
        candidate=found[1],
        notes=_notes_of(network),
        content=content,
        known=found[0],
        digest=network.digest,
    )


def _of_a_known_graph(
    content: FileContent, path: Path, candidates: Sequence[Candidate], options: ReadOptions, kind: str
) -> Reading:
    """The network of the one graph among the candidates' that the file's weights fit."""
    if options.output is not None:
        return _of_an_architecture(content, path, candidates, options, kind)
    activation = options.activation
    chains = [graph for graph in distinct_graphs(candidates) if graph.is_chain]
    if not chains:
        return _of_an_architecture(content, path, candidates, options, kind)
    graphs = [graph for graph in chains if activation in (None, graph.chain.activation)]
    if not graphs:
        known = " or ".join(sorted({graph.chain.activation for graph in chains}))
        raise ZoovetError(f"--activation {activation}: trained on networks with {known} only")
    fitting: list[Reading] = []
    refusals: list[ZoovetError] = []
    for graph in graphs:
        try:
            fitting.append(
                networks_from_content(
                    content, str(path), graph.architecture, scaling=options.scaling, order=options.order
                )
            )
        except ZoovetError as error:
            refusals.append(error)
    shape = options.shape
    if len(fitting) > 1 and shape is not None:  # the weights of a small CNN leave it open
        fitting = [one for one in fitting if one.networks.graph.input_shape == shape] or fitting
    if len(fitting) > 1:
        raise _ambiguous(path, [reading.networks.graph for reading in fitting], candidates)
    if not fitting and shape is not None and all(isinstance(error, GraphMisfitError) for error in refusals):
        return _of_an_architecture(content, path, candidates, options, kind)
    if not fitting:
        refusal = _weightiest(refusals, content, path, candidates, kind)
        if all(isinstance(error, GraphMisfitError) for error in refusals):
            raise _of_nobody(refusal, content, path, options)
        raise refusal
    return fitting[0]


def _of_nobody(refusal: ZoovetError, content: FileContent, path: Path, options: ReadOptions) -> ZoovetError:
    """The refusal, with the network where names and shapes alone say what it is; or what they leave open."""
    try:
        network = network_from_content(content, str(path), None, options.scaling, options.images, options.input_shape)
    except OpenArchitecture as error:
        return OpenArchitecture(f"{refusal}; it {str(error).removeprefix(f'{path} ')}", error.choices)
    except ZoovetError:
        return refusal
    return NobodyKnows(str(refusal), [network])


def _of_an_architecture(
    content: FileContent, path: Path, candidates: Sequence[Candidate], options: ReadOptions, kind: str
) -> Reading:
    """The network of a file that is of an architecture, where one of the candidates knows it."""
    network = network_from_content(
        content, str(path), options.architecture, options.scaling, options.images, options.input_shape, options.output
    )
    found = known_to(network, candidates, kind)
    if found is None:
        raise NobodyKnows(f"{path}: {unknown_in_words(network, candidates, kind)}", [network])
    return Reading(networks=found[0].networks, notes=_notes_of(network))


def _notes_of(network: Network) -> tuple[str, ...]:
    """What is to be said of a network, but for an unknown input scaling, which is said of all files together."""
    return tuple(note for note in network.notes if not note.startswith(f"{SCALING_NOT_KNOWN}known"))


def _weightiest(
    refusals: Sequence[ZoovetError], content: FileContent, path: Path, candidates: Sequence[Candidate], kind: str
) -> ZoovetError:
    """The refusal that says most: that the order is open, what else is wrong with the file, or that nobody knows it."""
    beyond_shapes = [error for error in refusals if not isinstance(error, GraphMisfitError)]
    if beyond_shapes:
        return next((error for error in beyond_shapes if isinstance(error, LayerOrderError)), beyond_shapes[0])
    if _is_given(candidates):
        return refusals[0]
    what = described(content, str(path)) or contents_in_words(content.tensors)
    return ZoovetError(f"{path} holds {what}: no shipped {kind} knows such a network")


def one_network(networks: Networks, notes: tuple[str, ...], digest: str | None) -> Network:
    """One network (B = 1) of a file.

    Args:
        networks: That one.
        notes: What is to be said of it.
        digest: Of the file's weights; ``None`` where the graph names them.
    """
    graph = networks.graph
    return Network(
        input_shape=graph.input_shape,
        title=graph.describe(),
        networks=networks,
        scaling=graph.input_scaling,
        notes=notes,
        digest=digest or digest_of(networks),
    )


def candidate_for(graph: Graph, source: str, candidates: Sequence[Candidate], kind: str) -> Candidate:
    """The one candidate with a graph; the one that was given even without it, since it says itself what it knows.

    Args:
        graph: Of the networks.
        source: Their file, for messages.
        candidates: Detectors or repairers; one at least.
        kind: What the candidates are, for messages: ``detector`` or ``repairer``.

    Raises:
        ZoovetError: None of the shipped models knows the graph, or several do.
    """
    knowing = [candidate for candidate in candidates if graph in candidate.graphs]
    if len(knowing) == 1:
        return knowing[0]
    if not knowing and _is_given(candidates):
        return candidates[0]
    if knowing:
        names = " or ".join(str(candidate.model) for candidate in knowing)
        raise ZoovetError(f"{source}: several models know such networks, {_described(graph)}: give --model {names}")
    raise ZoovetError(f"{source} holds a network that no shipped {kind} knows: {_described(graph)}")


def _ambiguous(path: Path, graphs: Sequence[Graph], candidates: Sequence[Candidate]) -> ZoovetError:
    """What to say of a file that fits several graphs."""
    activations = sorted({graph.chain.activation for graph in graphs})
    models = sorted({str(one.model) for one in candidates if set(one.graphs) & set(graphs)})
    ways = []
    if len(activations) > 1:
        ways.append(f"--activation {' or '.join(activations)}")
    if len(models) > 1:
        ways.append(f"--model {' or '.join(models)}")
    if len(models) == 1 and len({graph.chain.activation for graph in graphs}) < len(graphs):
        ways.append("a file with its graph inside (zoovet.save_networks)")
    unsaid = "its activation" if len(models) == 1 else "what its networks are, as the shape of their images"
    return ZoovetError(f"{path} says nothing of {unsaid}, and its weights fit several: give {' and '.join(ways)}")


def _is_given(candidates: Sequence[Candidate]) -> bool:
    """Whether the command line names a run; else the candidates are shipped models."""
    return candidates[0].model is None


def _described(graph: Graph) -> str:
    return printable(graph.describe(), 120)
