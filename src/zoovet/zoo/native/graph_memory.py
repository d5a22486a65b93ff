"""Which sites are kept for all images of a batch: as few as can be, since what does not fit the cache costs most."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from zoovet.zoo.native.graph_plan import Place
from zoovet.zoo.native.graph_steps import Barrier, Step

__all__ = ["kept_sites", "shared_gradients", "with_cheap_values_recomputed"]

Steps = Sequence[Step | Barrier]


def _uses(letter: str, step: Step) -> set[int]:
    """Numbers of the sites whose values (``V``) or gradients (``G``) a step reads or writes."""
    return {int(number) for number in re.findall(rf"\b{letter}\((\d+)\)", step.text)}


def _runs(steps: Steps) -> Iterator[list[Step]]:
    """The steps between barriers."""
    run: list[Step] = []
    for step in steps:
        if isinstance(step, Barrier):
            yield run
            run = []
        else:
            run.append(step)
    yield run


def kept_sites(letter: str, steps: Steps) -> set[int]:
    """Sites of which every image needs room: a run between barriers uses them that did not make them itself."""
    kept: set[int] = set()
    users: dict[int, int] = {}
    for number, run in enumerate(_runs(steps)):
        made: set[int] = set()
        for step in run:
            if letter == "V":
                made |= {step.makes} if step.makes is not None else set()
                kept |= _uses(letter, step) - made
            else:
                kept |= {site for site in _uses(letter, step) if users.setdefault(site, number) != number}
    return kept


def with_cheap_values_recomputed(forward: Steps, backward: Steps, cheap: Mapping[int, Sequence[Step]]) -> Steps:
    """All steps of a batch; values of norms and activations are made again on the way back, where they were not kept.

    Args:
        forward: Steps up to the loss.
        backward: The others.
        cheap: Site → the steps that make its values of other sites'. Those that a later run forward reads are kept.
    """
    kept = kept_sites("V", forward)
    fresh = {step.makes for step in list(_runs(forward))[-1]}
    result: list[Step | Barrier] = list(forward)

    def need(sites: set[int]) -> None:
        for site in sorted(sites - kept):
            if site in cheap and site not in fresh:
                for step in cheap[site]:
                    need(_uses("V", step) - {site})
                    result.append(step)
                fresh.add(site)

    for step in backward:
        if isinstance(step, Barrier):
            fresh.clear()
        else:
            need(_uses("V", step))
        result.append(step)
    return result


def shared_gradients(steps: Steps, places: Mapping[int, Place]) -> list[int]:
    """Site → the site whose memory its gradients use: one of the same shape whose own are not needed any more.

    The images' own gradients share nothing: they are wanted at the end.
    """
    spans: dict[int, tuple[int, int]] = {}
    for index, step in enumerate(steps):
        if isinstance(step, Step):
            for site in _uses("G", step):
                spans[site] = (spans.get(site, (index, 0))[0], index)
    kept = kept_sites("G", steps)
    owners = list(range(len(places)))
    free_from: dict[tuple[Place, bool], dict[int, int]] = {}
    for site, (first, last) in sorted(spans.items(), key=lambda entry: entry[1]):
        if site == 0:
            continue
        owned = free_from.setdefault((places[site], site in kept), {})
        owners[site] = next((owner for owner, end in owned.items() if end < first), site)
        owned[owners[site]] = last
    return owners
