"""Reading pages as browsers do, but stricter."""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser

import pytest

VOID = {"meta", "link", "img", "br", "hr", "input"}
LOADING = {"src", "href", "xlink:href", "data", "action", "srcset", "poster"}


class Page(HTMLParser):
    """What a page holds; complains where a tag is closed that is not the open one."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.ids, self.references, self.links, self.texts = [], Counter(), [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags[tag] += 1
        if tag not in VOID:
            self.open.append(tag)
        self._attributes(dict(attributes))

    def handle_startendtag(self, tag, attributes):
        self.tags[tag] += 1
        self._attributes(dict(attributes))

    def _attributes(self, attributes):
        if "id" in attributes:
            self.ids.append(attributes["id"])
        self.links += [value for name, value in attributes.items() if name in LOADING]
        self.references += re.findall(r"url\(#([^)]*)\)", " ".join(filter(None, attributes.values())))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> at {self.getpos()}"

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())


@pytest.fixture(scope="session")
def read_page():
    return Page
