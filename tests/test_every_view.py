"""What holds of every view: pictures in all formats, a table, little of it in a notebook, and that it can be frozen."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from ipywidgets.embed import dependency_state

import layerwidget as lw
from layerwidget.figures.raster import png
from layerwidget.widgets import still
from layerwidget.widgets.esm import style_text
from layerwidget.widgets.layer_figure import LayerFigure
from layerwidget.widgets.page import Page
from layerwidget.widgets.pages import PAGES
from layerwidget.widgets.parts import parts_of
from layerwidget.widgets.picture import Pictured
from layerwidget.widgets.pictured_box import PicturedBox
from layerwidget.widgets.tuned_curves import HeldOutCurves
from tests.every_answer import one_of_each
from tests.pictures import pdf_characters, pixels, words
from tests.tiny import D_VOCAB, letters

N_LAYERS, N_HEADS = 30, 9
PROMPT = "thequickbrownfoxjumpsoverthelazydogsandthelazydogsleepsallday" + "xyz"
LIVE = "application/vnd.jupyter.widget-view+json"
#: What others are made from.
BASES = {Pictured, PicturedBox, Page, LayerFigure}


def kinds(base: type) -> Iterator[type]:
    """All types of views, those too that are not public."""
    for kind in base.__subclasses__():
        yield kind
        yield from kinds(kind)


VIEWS = sorted({kind.__name__ for kind in {*kinds(Pictured)} - BASES if kind.__module__.startswith("layerwidget.")})


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """One of each, of 30 layers, 9 heads and 64 tokens."""
    made, with_target = explorer(), target_explorer()
    file = tmp_path_factory.mktemp("file") / "all"
    made.save(file)
    replay = lw.replay(file)
    attention = lw.Attention("0-7").run(made.model.trace(PROMPT))
    held_out = HeldOutCurves()
    held_out.show(one_of_each()["training"])
    compared, found = lw.CompareView(attention, attention), {}
    for one in (made, *made.stack.made_pages, with_target, *with_target.stack.made_pages, replay, compared, held_out):
        for part in parts_of(one):
            found.setdefault(type(part).__name__, part) if isinstance(part, Pictured) else None
    yield found
    made.close()
    with_target.close()


def explorer(
    n_layers: int = N_LAYERS, prompt: str = PROMPT, pages: Sequence[str] = tuple(page.page_name for page in PAGES)
) -> lw.Explorer:
    config = transformers.LlamaConfig(
        vocab_size=D_VOCAB, hidden_size=36, intermediate_size=52, num_hidden_layers=n_layers,
        num_attention_heads=N_HEADS, num_key_value_heads=3, head_dim=4, max_position_embeddings=len(prompt),
    )  # fmt: skip
    torch.manual_seed(3)
    model = lw.HookedModel(transformers.LlamaForCausalLM(config).eval(), letters(), "tiny")
    made = lw.Explorer(model, prompt, pages=pages)
    if "compare" in pages:
        made.page("compare").prompt = prompt[:-3] + "abc"
    made.wait()
    return made


def target_explorer() -> lw.Explorer:
    config = transformers.BartConfig(
        vocab_size=D_VOCAB, d_model=36, encoder_layers=1, decoder_layers=N_LAYERS, decoder_attention_heads=N_HEADS,
        encoder_attention_heads=N_HEADS, encoder_ffn_dim=36, decoder_ffn_dim=36, max_position_embeddings=80,
    )  # fmt: skip
    torch.manual_seed(3)
    model = lw.HookedModel(transformers.BartForConditionalGeneration(config).eval(), letters(), "tiny")
    made = lw.Explorer(model, PROMPT, target=PROMPT, pages=["cross"])
    made.wait()
    return made


@pytest.fixture(params=VIEWS)
def view(request: pytest.FixtureRequest, views: dict[str, Any]) -> Any:
    return views[request.param]


@pytest.fixture
def drawn(view: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The same, drawn once for all tests."""
    svg = drawn_once(view)
    monkeypatch.setattr(view, "to_svg", lambda: svg)
    return view


@cache
def drawn_once(view: Any) -> str:
    return str(view.to_svg())


def test_it_is_a_picture_in_all_formats_and_a_table(view: Any) -> None:
    svg, said = drawn_once(view), view.to_text()
    assert said.strip()
    assert words(svg)
    assert len(np.unique(pixels(png(svg, 0.1)).reshape(-1, 4), axis=0)) > 4
    letters_in_it = {letter for line in words(svg) for letter in line if letter.isascii() and letter.isalnum()}
    assert letters_in_it <= pdf_characters(view.to_pdf())


def test_a_notebook_holds_little_of_it(drawn: Any) -> None:
    """Of a view alone, and of all views of a page or an explorer: state, picture and table together."""
    bundle = still._hidden_bundle(drawn.to_svg(), drawn.to_text(), still._room(drawn))
    assert "data:image/png;base64,iVBOR" in bundle["text/html"]
    beside = len(json.dumps(bundle))
    assert 1_000 < beside < 600_000
    assert_little_is_saved(drawn, beside)
    for part in parts_of(drawn):
        # As the widget manager saves it, with its code; an image of bytes would be saved as base64.
        assert len(json.dumps(part.get_state(), default=repr)) < 200_000, part


def assert_little_is_saved(shown: Any, beside: int) -> None:
    """The state of every model of it, with code and style sheet, and what stands beside it."""
    state, views = dependency_state([shown], drop_defaults=False), shown.pictured_views
    assert {part.model_id for part in parts_of(shown)} <= set(state)
    assert len(json.dumps(state)) + beside < 200_000 * len(views)
    # The sheet, which all share, is there once.
    sheets = [model["state"]["_css"] for model in state.values() if model["state"].get("_css")]
    assert sheets == [style_text()]
    assert sum(len(json.dumps(model["state"].get("_esm", ""))) for model in state.values()) > 1_000


def test_a_notebook_holds_little_of_512_tokens() -> None:
    made = explorer(n_layers=3, prompt=PROMPT[:64] * 8, pages=["lens"])
    beside = len(json.dumps(still._hidden_bundle(made.to_svg(), made.to_text(), still._room(made))))
    assert len(made.results["lens"].token_ids) == 512
    assert_little_is_saved(made, beside)
    made.close()


def test_it_can_be_frozen(drawn: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs: dict[str, dict[str, Any]] = {}
    done: list[Callable[[], None]] = []
    events = SimpleNamespace(register=lambda event, call: done.append(call), unregister=lambda event, call: None)
    shell = SimpleNamespace(events=events, observe=lambda call, name: None)
    monkeypatch.setattr(still, "interactive_shell", lambda: shell)
    monkeypatch.setattr(still, "publish", lambda bundle, name, update=False: outputs.update({name: bundle}))
    monkeypatch.setattr(still, "png_aside", lambda svg, scale: png(svg, 0.1))
    drawn._ipython_display_()
    done[0]()
    live, beside = outputs
    assert outputs[live][LIVE]["model_id"] == drawn.model_id
    assert "lw-still" in outputs[beside]["text/html"]
    drawn.freeze()
    assert base64.b64decode(outputs[live]["image/png"]).startswith(b"\x89PNG")
    assert LIVE not in outputs[live]
    assert outputs[live]["text/plain"] == drawn.to_text()
    assert outputs[beside] == {"text/html": "", "text/plain": ""}


def test_a_large_picture_is_made_smaller_until_it_fits(views: dict[str, Any]) -> None:
    view = views["AttentionView"]
    svg, said = drawn_once(view), view.to_text()
    sizes = []
    for most in (200_000, 60_000, 30_000):
        sizes.append(len(json.dumps(still._hidden_bundle(svg, said, most - 1_000))))
        assert sizes[-1] < most
    assert len(set(sizes)) > 1
