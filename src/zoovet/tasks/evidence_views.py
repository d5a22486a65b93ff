"""Evidence of networks as it is for them in a view."""

from __future__ import annotations

from torch import Tensor

from zoovet.evidence import Evidence
from zoovet.networks import Graph, Networks
from zoovet.tasks.augmentation import View

__all__ = ["evidence_in_view"]


def evidence_in_view(evidence: Evidence, graph: Graph, view: View) -> Evidence:
    """Numbers of parameters turned as the weights are; those of sites and classes stay.

    Args:
        evidence: Of B networks, found out without the view.
        graph: What they are.
        view: In which kernels are turned; classes keep their order.
    """
    assert view.classes is None
    names = next(iter(evidence.parameters.values()), {})
    parameters: dict[str, dict[str, Tensor]] = {parameter: {} for parameter in evidence.parameters}
    for name in names:
        own = Networks(graph, {parameter: named[name] for parameter, named in evidence.parameters.items()})
        for parameter, tensor in view.apply(own).parameters.items():
            parameters[parameter][name] = tensor
    return Evidence(classes=evidence.classes, sites=evidence.sites, parameters=parameters)
