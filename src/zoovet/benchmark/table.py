"""A table of a benchmark, for people."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Table"]


@dataclass(frozen=True)
class Table:
    """A table for people.

    Attributes:
        title: What it shows.
        columns: Heads; the first column names the row.
        rows: Texts.
        note: What a reader must know.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""

    def markdown(self) -> str:
        """The table as Markdown."""
        head, *rows = ("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in self._all_rows)
        lines = [f"## {self.title}", "", head, "|" + "---|" * len(self.columns), *rows]
        return "\n".join([*lines, *(["", self.note] if self.note else []), ""])

    @property
    def _all_rows(self) -> tuple[tuple[str, ...], ...]:
        return (self.columns, *self.rows)
