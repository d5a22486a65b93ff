"""What the site makes of docstrings: Sphinx's roles (``:class:`~zoovet.Images```) become code by their last name."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["on_page_content"]

_ROLE = re.compile(r":(?:class|func|meth|mod|data|attr):<code>~?(?P<path>[\w.]+)</code>")


def on_page_content(html: str, **_: Any) -> str:
    """The page with roles in plain code."""
    return _ROLE.sub(lambda match: f"<code>{match['path'].rpartition('.')[2]}</code>", html)
