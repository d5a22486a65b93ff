"""Weight files from elsewhere: reading them for the detector or repairer that knows their spec."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from zoovet.errors import ZoovetError
from zoovet.networks import InputScaling, Networks, NetworkSpec
from zoovet.readers import networks_from_content, read_content
from zoovet.tasks.vetting import spec_in_words
from zoovet.vet.candidates import Candidate, describe_shipped

__all__ = ["ReadOptions", "candidate_for", "load_suspects"]


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """What its user knows of a weight file that it does not say itself.

    Attributes:
        activation: Hidden activation of a file without a spec; ``None`` where the weights settle it.
        scaling: Input scaling of networks whose file does not say it; ``None`` where nobody knows.
    """

    activation: str | None = None
    scaling: InputScaling | None = None


def load_suspects(
    path: Path, candidates: Sequence[Candidate], options: ReadOptions, kind: str
) -> tuple[Networks, Candidate]:
    """The networks in a file, and who knows them.

    They are of the spec that the file names, or else of the one among the candidates' that its weights fit.

    Args:
        path: safetensors, or a state dict by ``torch.save``.
        candidates: Detectors or repairers; one at least.
        options: What is known of the file besides.
        kind: What the candidates are, for messages: ``detector`` or ``repairer``.

    Raises:
        ZoovetError: The file cannot be read or is damaged, fits no spec, or fits several, or several models that know
            one spec; or its input scaling is another than that of the options. The message says which and what settles
            it.
    """
    content = read_content(path)
    try:
        networks = networks_from_content(content, str(path), scaling=options.scaling)
    except ZoovetError as error:
        first = error  # no spec inside, or something that is wrong whatever the spec
    else:
        return networks, candidate_for(networks.spec, str(path), candidates, kind)
    activation = options.activation
    specs = [spec for spec in _distinct_specs(candidates) if activation in (None, spec.activation)]
    if not specs:
        known = " or ".join(sorted({spec.activation for spec in _distinct_specs(candidates)}))
        raise ZoovetError(f"--activation {activation}: trained on networks with {known} only")
    fitting: list[Networks] = []
    refusals: list[ZoovetError] = []
    for spec in specs:
        try:
            fitting.append(networks_from_content(content, str(path), spec.architecture, options.scaling))
        except ZoovetError as error:
            refusals.append(error)
    if not fitting:
        if str(first) in map(str, refusals):
            raise first
        raise refusals[0] if _is_given(candidates) else ZoovetError(f"{refusals[0]}. {_shipped(candidates, kind)}")
    if len(fitting) > 1:
        raise _ambiguous(path, [networks.spec for networks in fitting], candidates)
    return fitting[0], candidate_for(fitting[0].spec, str(path), candidates, kind)


def candidate_for(spec: NetworkSpec, source: str, candidates: Sequence[Candidate], kind: str) -> Candidate:
    """The one candidate with a spec; the one that was given even without it, since it says itself what it knows.

    Args:
        spec: Of the networks.
        source: Their file, for messages.
        candidates: Detectors or repairers; one at least.
        kind: What the candidates are, for messages: ``detector`` or ``repairer``.

    Raises:
        ZoovetError: None of the shipped models knows the spec, or several do.
    """
    knowing = [candidate for candidate in candidates if spec in candidate.specs]
    if len(knowing) == 1:
        return knowing[0]
    if not knowing and _is_given(candidates):
        return candidates[0]
    if knowing:
        names = " or ".join(str(candidate.model) for candidate in knowing)
        raise ZoovetError(f"{source}: several models know such networks, {spec.describe()}: give --model {names}")
    raise ZoovetError(
        f"{source}: no shipped {kind} was trained on such networks. Given: {spec_in_words(spec)}. "
        f"{_shipped(candidates, kind)}"
    )


def _ambiguous(path: Path, specs: Sequence[NetworkSpec], candidates: Sequence[Candidate]) -> ZoovetError:
    """What to say of a file that fits several specs."""
    activations = sorted({spec.activation for spec in specs})
    models = sorted({str(one.model) for one in candidates if set(one.specs) & set(specs)})
    ways = []
    if len(activations) > 1:
        ways.append(f"--activation {' or '.join(activations)}")
    if len(models) > 1:
        ways.append(f"--model {' or '.join(models)}")
    if len(models) == 1 and len({spec.activation for spec in specs}) < len(specs):
        ways.append("a file with its spec inside (zoovet.save_networks)")
    unsaid = "its activation" if len(models) == 1 else "what its networks are, as the shape of their images"
    return ZoovetError(f"{path} says nothing of {unsaid}, and its weights fit several: give {' and '.join(ways)}")


def _distinct_specs(candidates: Sequence[Candidate]) -> list[NetworkSpec]:
    return list(dict.fromkeys(spec for candidate in candidates for spec in candidate.specs))


def _is_given(candidates: Sequence[Candidate]) -> bool:
    """Whether the command line names a run; else the candidates are shipped models."""
    return candidates[0].model is None


def _shipped(candidates: Sequence[Candidate], kind: str) -> str:
    return f"Shipped are {describe_shipped(candidates)}. Give a {kind} of your own, --{kind} RUN"
