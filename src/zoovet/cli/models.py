"""``zoovet --models``: the detectors and repairers that come with the package."""

from __future__ import annotations

from pathlib import Path

from zoovet import shipped

__all__ = ["print_models"]


def print_models(models: Path | None = None) -> None:
    """Print every model's name, what it has, the graphs it knows, and where its card is.

    Args:
        models: Folder of models; the package's own where left out.

    Raises:
        ZoovetError: The folder does not exist, or a file is damaged.
    """
    from zoovet.tasks.vetting import scaling_of
    from zoovet.vet import shipped_candidates

    names = shipped.names(models)
    if not names:
        print(f"no models in {models or shipped.folder()}")
    for name in names:
        print(name)
        for kind in shipped.kinds_of(name, models):
            (candidate,) = shipped_candidates(kind, models, name)
            print(f"  {kind:8} {candidate.path.stat().st_size / 1e6:.1f} MB")
            for graph in candidate.graphs:
                print(f"           {graph.describe()}")
            for scaling in dict.fromkeys(map(scaling_of, candidate.graphs)):
                print(f"           trained on images scaled to {scaling.describe()}")
        print(f"  card     {shipped.card(name, models)}")
    for with_images in (True, False):
        strangers = shipped.stranger_detector(models, with_images=with_images)
        if strangers is not None:
            print(strangers.parent.name)
            knows = "for networks that none of the above knows" + ("" if with_images else ", without images")
            print(f"  detector {strangers.stat().st_size / 1e6:.1f} MB, {knows}")
            print(f"  card     {strangers.parent / shipped.CARD_NAME}")
