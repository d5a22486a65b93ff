"""Networks from elsewhere: weight files of any origin become networks, without running code that may be in them.

Names are imported when they are first used: the process that reads files from strangers is of this package too, and
starts without torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoovet.readers.content import FileContent
    from zoovet.readers.files import (
        load_networks,
        networks_from_content,
        read_state_dict,
        save_networks,
        says_its_graph,
    )
    from zoovet.readers.formats import content_of_bytes, read_content
    from zoovet.readers.named_layers import contents_in_words
    from zoovet.readers.state_dicts import Reading

__all__ = [
    "FileContent",
    "Reading",
    "content_of_bytes",
    "contents_in_words",
    "load_networks",
    "networks_from_content",
    "read_content",
    "read_state_dict",
    "save_networks",
    "says_its_graph",
]

_HOMES = {
    "FileContent": "content",
    "Reading": "state_dicts",
    "content_of_bytes": "formats",
    "contents_in_words": "named_layers",
    "read_content": "formats",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"zoovet.readers.{_HOMES.get(name, 'files')}"), name)
    globals()[name] = value
    return value
