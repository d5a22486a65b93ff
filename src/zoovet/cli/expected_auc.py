"""What a detector may reach for how many bases: what was measured, on what, and nothing beyond it."""

from __future__ import annotations

import re

from zoovet import shipped

__all__ = ["OWN_NETWORKS_AUC", "SMALL_CNN_AUC", "expected_auc"]

SMALL_CNN_AUC = {"Fashion-MNIST": ("0.891", "0.986", "0.994"), "CIFAR-10 in gray": ("0.803", "0.899", "0.982")}
"""Of ScaleGMN (``configs/detection.yaml``) on test networks, by 50, 200 and 2,100 training bases; docs/results.md."""

OWN_NETWORKS_AUC = (
    "A detector\nthat reads weights (configs/own/detection.yaml) reached an AUC of 0.962 (95 %: 0.911 to 0.997) on 78\n"
    "networks held out of a zoo of 200 bases, 0.926 of 52: a ResNet-8 with batch norms on colour photographs,\n"
    "one seed (docs/own-networks.md)."
)
"""Of ``configs/own/detection.yaml``; docs/own-networks.md."""

_CARD_ROW = re.compile(r"^\| one image set \| \w+ \| (\d+) \| ([\d.]+ \([^)]*\))", re.MULTILINE)


def expected_auc(route: str) -> str:
    """What to expect of a detector, and what that rests on; several lines.

    Args:
        route: ``small_cnn``, ``precise`` (what reads weights of other networks) or ``strangers``.
    """
    return {"small_cnn": _of_small_cnns, "precise": lambda: OWN_NETWORKS_AUC, "strangers": _of_parks}[route]()


def _of_small_cnns() -> str:
    rows = "\n".join(f"  {name:18}{''.join(f'{value:8}' for value in row)}" for name, row in SMALL_CNN_AUC.items())
    return (
        f"AUC that a detector (configs/detection.yaml) reached on networks held out, by the bases it learned from:\n"
        f"  {'bases':18}50      200     2100\n{rows}\n"
        f"That rests on two zoos of a small CNN of 4,970 parameters, three seeds, 300 further bases that chose the\n"
        f"checkpoint (docs/results.md, 'Fewer training bases'). Other images were not tried; hard ones need more bases."
    )


def _of_parks() -> str:
    detector = shipped.stranger_detector(None, with_images=True)
    card = None if detector is None else detector.parent / "card.md"
    rows = [] if card is None or not card.is_file() else _CARD_ROW.findall(card.read_text(encoding="utf-8"))
    known = "; ".join(f"{auc} on {count} networks" for count, auc in rows)
    measured = (
        f"AUC of the detector for strangers that comes with zoovet, on image sets left out of its training: {known}\n"
        f"(zoovet --models says where its card is, and of which networks it learned).\n"
        if known
        else ""
    )
    return (
        f"{measured}Of a park of one architecture and one image set no AUC was measured, nor how it grows with bases: "
        f"nothing can be\npromised. zoovet train says what it reaches on networks that were held out."
    )
