"""Evidence as a metanetwork's numbers: features of nodes, and gradients beside weights and biases."""

from __future__ import annotations

from collections.abc import Sequence, Sized

import torch
from torch import Tensor
from torch.nn import functional

from zoovet.errors import ZoovetError
from zoovet.evidence.evidence import Evidence
from zoovet.evidence.inversion_config import BY_CLASS, InversionConfig
from zoovet.metanets.graph_parameters import GraphStructure
from zoovet.networks.batch import Networks
from zoovet.networks.graph import Graph

__all__ = ["evidence_features", "evidence_gradients", "require_evidence"]

Gradients = tuple[tuple[tuple[Tensor | None, ...], tuple[Tensor | None, ...]], ...]


def require_evidence(
    evidence: Evidence | Sequence[Evidence] | None, networks: Sequence[Sized], config: InversionConfig
) -> list[Evidence]:
    """Evidence of batches of networks, one each.

    Raises:
        ZoovetError: There is none, of other networks, or of other things than the configuration asks for.
    """
    if evidence is None:
        raise ZoovetError("this metanetwork reads evidence beside the weights, got none; give evidence=…")
    given = [evidence] if isinstance(evidence, Evidence) else list(evidence)
    sizes, wanted = [len(own) for own in given], [len(own) for own in networks]
    if sizes != wanted:
        raise ZoovetError(f"evidence must be of the networks given, {wanted} of them, got evidence of {sizes}")
    for own in given:
        numbers = sum(tensor[0, 0].numel() for tensor in own.classes.values()) if len(own) else config.num_class_numbers
        gradients = {len(named) for named in own.parameters.values()} or {0}
        if numbers != config.num_class_numbers or gradients != {config.num_gradients}:
            raise ZoovetError(
                f"the metanetwork reads {config.num_class_numbers} numbers of each class and {config.num_gradients} "
                f"gradients, got evidence with {numbers} and {max(gradients)}"
            )
    return given


def evidence_features(
    evidence: Evidence, structure: GraphStructure, config: InversionConfig, max_classes: int
) -> list[Tensor]:
    """Features of every group's nodes, [B, n, numbers]: of the sites, then of the classes, which the output has alone.

    Args:
        evidence: Of B networks.
        structure: Of the networks. A group none of whose sites the evidence has gets zeros.
        config: What was sought.
        max_classes: Room for numbers by class of sites; those of classes that the networks lack are 0. With room for
            one, which says that classes are not told apart, there are none.
    """
    num_site_numbers = config.num_site_numbers(max_classes)
    classes = torch.asinh(torch.cat([tensor.flatten(2) for tensor in evidence.classes.values()], dim=2))
    *_, num_numbers = classes.shape
    of_sites = [classes.new_zeros(len(evidence), group.size, num_site_numbers) for group in structure.groups]
    if num_site_numbers:
        for index, names in enumerate(structure.sites):
            known = [evidence.sites[name] for name in names if name in evidence.sites]
            if known:
                kept = [tensor for name, tensor in known[-1].items() if name != BY_CLASS or max_classes > 1]
                own = torch.cat(kept, dim=2)
                of_sites[index] = functional.pad(own, (0, num_site_numbers - own.shape[2]))
    features = [functional.pad(own, (0, num_numbers)) for own in of_sites]
    features[structure.output] = torch.cat([of_sites[structure.output], classes], dim=2)
    return features


def evidence_gradients(evidence: Evidence, graph: Graph, config: InversionConfig) -> Gradients:
    """Every gradient in the form of weights and biases: by layer, and by group."""
    if not config.num_gradients:
        return ()
    names = list(next(iter(evidence.parameters.values())))
    found = [
        Networks(graph, {parameter: named[name] for parameter, named in evidence.parameters.items()}) for name in names
    ]
    return tuple((gradient.weights, (None, *gradient.biases)) for gradient in found)
