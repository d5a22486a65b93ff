"""Which letters glyphs show, and in which fonts: those of matplotlib's that have them all."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ALPHABETS", "Alphabet"]

_FULL_FONTS = (
    *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique"),
    *("DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSansMono-Oblique", "DejaVuSansMono-BoldOblique"),
    *("DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic", "DejaVuSerif-BoldItalic"),
    *("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta"),
)
_LATIN_FONTS = (*_FULL_FONTS, "cmr10", "cmb10", "cmss10", "cmtt10")
_LATIN = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True)
class Alphabet:
    """Letters and the fonts that have all of them.

    Attributes:
        letters: One for each class, in the order of the classes.
        fonts: Names of matplotlib's font files, without their ending.
    """

    letters: str
    fonts: tuple[str, ...]


ALPHABETS = {
    "latin": Alphabet(_LATIN, _LATIN_FONTS),
    "lowercase": Alphabet("abcdefghijklmnopqrstuvwxyz", _LATIN_FONTS),
    "greek": Alphabet("ΓΔΘΛΞΠΣΦΨΩαβγδεζηθκλμνξπρστυφχψω", _FULL_FONTS),
    "cyrillic": Alphabet("БГДЖЗИЙЛПФЦЧШЩЪЫЬЭЮЯ", _FULL_FONTS),
    "mixed": Alphabet(_LATIN + "abdefghnqrtΔΨΩ", _FULL_FONTS),
}
"""By name. ``mixed`` has 50: digits, capitals, the small letters that look otherwise, and Greek ones."""
