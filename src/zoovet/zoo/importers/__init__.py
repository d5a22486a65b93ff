"""Published datasets in: each layout is read as it was published and written in our format."""

from zoovet.zoo.importers.layouts import LAYOUTS, ImportLayout, open_published
from zoovet.zoo.importers.published import ImportOptions, PublishedZoo
from zoovet.zoo.importers.writer import import_zoo

__all__ = ["LAYOUTS", "ImportLayout", "ImportOptions", "PublishedZoo", "import_zoo", "open_published"]
