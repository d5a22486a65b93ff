"""Networks from elsewhere: weight files of any origin become networks, without running code that may be in them."""

from __future__ import annotations

from zoovet.readers.files import load_networks, read_state_dict, save_networks

__all__ = ["load_networks", "read_state_dict", "save_networks"]
