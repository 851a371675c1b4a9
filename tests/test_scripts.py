"""Words of every script on paper: each is set in a font of its own, and the words around it stay as they are."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest

from layerwidget.figures import raster
from layerwidget.figures.raster import pdf, png
from layerwidget.figures.scripts import with_fonts
from layerwidget.figures.svg import Picture, document, text
from layerwidget.figures.themes import PAPER
from tests.pictures import SVG, pdf_characters, pixels


def figure(words: str) -> str:
    """A picture of one line, whose name is the same."""
    return document(Picture(300, 30, text(4, 14, words, size=20, font_weight="bold")), PAPER, words)


def runs(svg: str) -> list[tuple[str, str]]:
    """What names fonts of its own, and the first of these fonts."""
    found = ElementTree.fromstring(with_fonts(svg)).iter(SVG + "tspan")
    return [("".join(run.itertext()), run.attrib["font-family"].partition(",")[0]) for run in found]


def test_cjk_and_emoji_name_their_fonts_first() -> None:
    cjk, emoji = "'Noto Sans CJK JP'", "'Noto Color Emoji'"
    assert runs(figure("a 😀⭐✓ é")) == [("😀⭐", emoji)]
    # A line with CJK is of one font; else resvg takes any that has all of it.
    assert runs(figure("a ␣世界 <é>")) == [("a ␣世界 <é>", cjk)]
    assert runs(figure("한국 😀")) == [("한국 😀", cjk), ("😀", emoji)]
    assert runs(figure("ｶﾅ")) == [("ｶﾅ", cjk)]


def test_neither_a_letter_nor_the_name_is_touched() -> None:
    words = "a ␣世界 <ﾊ> 😀⭐ مرحبا é✓"
    line, name = (
        next(ElementTree.fromstring(with_fonts(figure(words))).iter(SVG + kind)) for kind in ("text", "title")
    )
    assert "".join(line.itertext()) == name.text == words


@pytest.mark.parametrize("words", ["The ␣cat é “x”", "مرحبا", "✓ ● ‹E4 B8›"])
def test_other_words_stay_as_they_are(words: str) -> None:
    assert with_fonts(figure(words)) == figure(words)


# Of two fonts, resvg would break down over the flag behind the x.
@pytest.mark.parametrize("words", ["x🇫🇷", "a👩🏽b", "世🇫🇷", "世\u3099x😀", "x\u1112\u1161\u11ab😀", "1️⃣世"])
def test_signs_made_of_several_are_left_to_one_font(words: str) -> None:
    assert len(runs(figure(words))) < 2
    assert not [run for run, font in runs(figure(words)) if "Emoji" in font]
    assert len(np.unique(pixels(png(figure(words))))) > 2
    assert pdf(figure(words)).startswith(b"%PDF-")


def test_png_and_pdf_are_drawn_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    before = png(figure("cat"))
    monkeypatch.setattr(raster, "with_fonts", lambda svg: svg.replace("cat", "dog"))
    assert png(figure("cat")) == png(figure("dog")) != before
    assert set("dog") <= pdf_characters(pdf(figure("cat")))
