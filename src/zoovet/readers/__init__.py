"""Networks from elsewhere: weight files of any origin become networks, without running code that may be in them."""

from __future__ import annotations

from zoovet.readers.content import FileContent
from zoovet.readers.files import load_networks, networks_from_content, read_state_dict, save_networks
from zoovet.readers.formats import read_content

__all__ = [
    "FileContent",
    "load_networks",
    "networks_from_content",
    "read_content",
    "read_state_dict",
    "save_networks",
]
