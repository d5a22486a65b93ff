"""Write src/zoovet/architectures/library_index.json: which networks of torchvision and timm have which tensors.

Each is made without numbers, nothing is downloaded: some 4 minutes. `make library-index` installs both libraries first.

    python benchmarks/architectures/library_index.py
"""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path

from operators import operators_of_torchvision

from zoovet.architectures.external import library_names
from zoovet.architectures.installed import shapes_of
from zoovet.architectures.library_index import index_as_text

LIBRARIES = ("torchvision", "timm")
PATH = Path(__file__).parents[2] / "src" / "zoovet" / "architectures" / "library_index.json"


def main() -> None:
    """Make and write."""
    library = operators_of_torchvision()
    shapes = {}
    for name in LIBRARIES:
        made = {network: shapes_of(f"{name}:{network}") for network in library_names(name)}
        failed = [network for network, own in made.items() if own is None]
        if failed:
            sys.exit(f"{name}: {', '.join(failed)} cannot be made")
        shapes[name] = {network: own for network, own in made.items() if own is not None}
        print(f"{name}: {len(made)} networks", flush=True)
    versions = {name: importlib.metadata.version(name) for name in LIBRARIES}
    PATH.write_text(index_as_text(versions, shapes), encoding="utf-8")
    assert library, "its operators are declared as long as it is kept"


if __name__ == "__main__":
    main()
