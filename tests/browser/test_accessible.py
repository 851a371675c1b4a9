"""For whoever does not see the page, or uses no pointer: axe-core, keys alone, tables, rings, system colours."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.axe import found_by_axe
from tests.browser.explorer_page import PROMPT, VIEWPORT, ExplorerPage
from tests.browser.keyboard import Keyboard
from tests.browser.notebook import Notebook

PAGES = "lens tuned residual attention attribution neurons depth compare map".split()
TEXT = "One two three four five six seven eight nine ten. " * 4
SECOND = PROMPT.replace("Paris", "London")


@pytest.fixture
def notebook(explorer: ExplorerPage) -> Notebook:
    explorer.notebook.page.set_viewport_size({**VIEWPORT, "height": 1300})
    explorer.notebook.rest()
    return explorer.notebook


def part(notebook: Notebook, css: str) -> Locator:
    return notebook.page.locator(f".lw-explorer {css}").first


def show(notebook: Notebook, *pages: str) -> None:
    notebook.run(f"ex.pages = {list(pages)}; ex.wait()")
    expect(part(notebook, ".lw-state")).to_have_text("fresh", timeout=60_000)
    notebook.rest()


def hear(notebook: Notebook) -> None:
    """New results are said as the first view shows them, at the place that is chosen."""
    expect(part(notebook, ".lw-voice [data-slot=state]")).to_have_text(re.compile(r"^fresh: .*(layer|position) \d"))


def test_axe_finds_nothing_grave_on_any_page_in_either_theme(notebook: Notebook) -> None:
    notebook.run(f"ex.tokens, ex.page('compare').prompt = [7042], {SECOND!r}")
    found = []
    for name in PAGES:
        show(notebook, name)
        for theme in ("light", "dark"):
            notebook.use_theme(theme)  # type: ignore[arg-type]
            found += [f"{name}, {theme}: {one}" for one in found_by_axe(notebook.page)]
    for preset, theme in (("talk", "dark"), ("talk", "light"), ("paper", "light")):
        notebook.use_theme(theme)  # type: ignore[arg-type]
        notebook.run(f"ex.preset = {preset!r}")
        expect(notebook.page.locator(f".lw-explorer.lw-{preset}")).to_have_count(1)
        show(notebook, *PAGES)
        found += [f"{preset}, {theme}: {one}" for one in found_by_axe(notebook.page)]
    notebook.run("ex.preset = 'explore'")
    assert not found, "\n".join(found)
    # That it looks at all: a button without a name is found.
    part(notebook, ".lw-tab-bar").evaluate("node => node.append(document.createElement('button'))")
    assert any(one.startswith("button-name") for one in found_by_axe(notebook.page))
    part(notebook, ".lw-tab-bar").evaluate("node => node.lastChild.remove()")


def test_everything_a_pointer_does_is_done_by_keys_alone(notebook: Notebook) -> None:
    """No pointer is used here, and nothing is given the focus but by Tab."""
    keys = Keyboard(notebook)
    edit_the_prompt(notebook, keys)
    move_the_range(notebook, keys)
    choose_cells_and_words(notebook, keys)
    choose_heads(notebook, keys)
    open_and_move_pages(notebook, keys)
    show(notebook, "tuned")
    hear(notebook)
    train_and_keep_a_tuned_lens(notebook, keys)
    show(notebook, "attention")
    hear(notebook)
    read_attention(notebook, keys)
    score_the_heads(notebook, keys)
    show(notebook, "residual")
    hear(notebook)
    read_the_stream(notebook, keys)
    show(notebook, "attribution")
    hear(notebook)
    take_a_logit_apart(notebook, keys)
    show(notebook, "neurons")
    hear(notebook)
    follow_a_neuron(notebook, keys)
    show(notebook, "depth")
    hear(notebook)
    read_the_depth(notebook, keys)
    show(notebook, "compare")
    hear(notebook)
    compare(notebook, keys)
    compare_something_else(notebook, keys)
    show(notebook, "map")
    walk_the_map(notebook, keys)
    step_through_scenes(notebook, keys)
    go_on_past_the_trained_length_and_write_a_target(notebook, keys)
    show(notebook, "lens")
    stop_and_read_what_went_wrong(notebook, keys)


def edit_the_prompt(notebook: Notebook, keys: Keyboard) -> None:
    keys.reach(part(notebook, ".lw-prompt"))
    keys.press("Control+End")
    keys.type("s")
    notebook.expect_value("ex.prompt", PROMPT + "s")
    keys.on(part(notebook, ".lw-undo"), "Enter")
    notebook.expect_value("ex.prompt", PROMPT)
    notebook.run("ex.wait()")
    keys.on(part(notebook, ".lw-strip"), "Home", "ArrowRight")
    notebook.expect_value("ex.position", 1)
    # What a pointer reads in the title of a chip.
    token = notebook.value("int(ex.results['lens'].token_ids[1])")
    expect(notebook.page.locator(".lw-tip")).to_contain_text(f"␣E · token id {token}, position 1")
    keys.press("End")
    notebook.expect_value("ex.position", 20)
    # What was measured is there when the model had nothing else to do.
    expect(part(notebook, ".lw-checked")).to_have_attribute("title", re.compile("measured"), timeout=90_000)
    keys.on(part(notebook, ".lw-checked"), "Enter")
    expect(part(notebook, ".lw-report")).to_be_visible()
    keys.press("Enter")
    expect(part(notebook, ".lw-report")).to_be_hidden()


def move_the_range(notebook: Notebook, keys: Keyboard) -> None:
    keys.on(part(notebook, ".lw-thumb-first"), "ArrowUp")
    notebook.expect_value("ex.layers", "19-29")
    keys.on(part(notebook, ".lw-thumb-middle"), "ArrowDown")
    notebook.expect_value("ex.layers", "18-28")
    keys.press("Shift+ArrowDown", "Shift+ArrowDown")
    notebook.expect_value("ex.layer", 26)
    keys.on(part(notebook, ".lw-thumb-last"), "ArrowUp")
    notebook.expect_value("ex.layers", "18-29")
    keys.on(part(notebook, "[data-preset=late]"), "Enter")
    notebook.expect_value("ex.layers", "22-29")
    notebook.run("ex.wait()")


def choose_cells_and_words(notebook: Notebook, keys: Keyboard) -> None:
    keys.on(part(notebook, ".lw-lens .lw-scroll"), "PageUp", "ArrowDown", "ArrowLeft")
    notebook.expect_value("[ex.layer, ex.position]", [28, 19])
    expect(part(notebook, ".lw-top .lw-panel-title")).to_contain_text("layer 28 · after “␣city” (position 19)")
    keys.press("Enter")
    notebook.expect_value("ex.tokens == [int(ex.results['lens'].top_ids[-2, 19, 0])]", True)
    keys.on(part(notebook, "[aria-label='Colour of the cells']"), "ArrowDown")
    notebook.expect_value("ex.lens_view.colour", "agreement")
    keys.on(part(notebook, "[aria-label='What is decoded']"), "ArrowUp")
    notebook.expect_value("ex.lens_view.component != 'resid_post'", True)
    keys.press("ArrowDown")
    notebook.expect_value("ex.lens_view.component", "resid_post")
    notebook.run("ex.wait()")
    keys.on(part(notebook, ".lw-words .lw-word-row:nth-child(2) .lw-pin"), "Enter")
    notebook.expect_value("len(ex.tokens)", 2)
    keys.on(part(notebook, ".lw-pinned:nth-child(2) .lw-word"), "Enter")
    notebook.expect_value("ex.token == ex.tokens[0]", True)
    keys.on(part(notebook, ".lw-pinned:nth-child(2) .lw-pin"), "Enter")
    notebook.expect_value("len(ex.tokens)", 1)
    keys.on(part(notebook, ".lw-trust"), "Enter")
    notebook.expect_value("ex.lens_view.colour", "kl")
    keys.press("Enter")
    notebook.expect_value("ex.lens_view.colour", "agreement")
    word = part(notebook, ".lw-words .lw-word").inner_text().replace("␣", " ")
    keys.on(part(notebook, ".lw-words .lw-word"), "Enter")
    notebook.expect_value("ex.prompt", PROMPT + word)
    # The text box has the focus now, as after a click, and its own undo takes the word back.
    keys.press("Control+z")
    notebook.expect_value("ex.prompt", PROMPT)
    notebook.run("ex.wait()")


def choose_heads(notebook: Notebook, keys: Keyboard) -> None:
    notebook.run("ex.layers = '22-29'; ex.wait()")
    keys.on(part(notebook, ".lw-gallery"), "Home", "ArrowRight", "PageDown", "ArrowUp")
    notebook.expect_value("[ex.layer, ex.head]", [23, 1])
    notebook.run("ex.wait()")
    keys.on(part(notebook, ".lw-attention [type=checkbox]"), "Space")
    notebook.expect_value("ex.attention_view.hide_first", False)
    keys.on(part(notebook, ".lw-attention .lw-matrix"), "PageDown", "ArrowUp", "End", "ArrowLeft", "ArrowLeft")
    notebook.expect_value("ex.position", 19)
    notebook.run("ex.wait()")
    weight = notebook.value("float(ex.results['attention'].pattern[1, 1, 19, 17])")
    expect(part(notebook, ".lw-attention .lw-facts")).to_contain_text(f"“␣city” → “␣in” {weight:.3f}")
    keys.press("Escape")
    expect(part(notebook, ".lw-attention .lw-facts")).to_contain_text("strongest:")
    keys.on(part(notebook, "[aria-label='What the matrix shows']"), "ArrowDown")
    notebook.expect_value("ex.attention_view.show_heads", "mean")
    keys.press("ArrowUp")
    keys.on(part(notebook, ".lw-figure .widget-toggle-button:nth-child(2)"), "Space")
    notebook.expect_value("ex.curves.quantity", "rank")
    # A value of a curve is read, and its layer chosen.
    lens = "ex.results['lens']"
    rank = notebook.value(f"int({lens}.token_ranks[2, 19, {lens}.tokens.index(ex.tokens[0])]) + 1")
    bar = part(notebook, ".lw-depth .lw-curves > .lw-bar")
    keys.reach(bar)
    # Its numbers come when they are asked for.
    expect(part(notebook, ".lw-depth .lw-twin tbody tr").first).to_be_attached()
    keys.press("Home", "ArrowRight", "ArrowRight")
    expect(bar).to_contain_text(f"layer 2: {rank} · ")
    expect(part(notebook, ".lw-voice")).to_contain_text(f"layer 2: {rank} · ")
    expect(part(notebook, POINT)).to_be_visible()
    keys.press("Enter")
    notebook.expect_value("ex.layer", 2)
    notebook.run("ex.layer = 23; ex.wait()")


#: What bqplot draws around the value that the keyboard has come to.
POINT = ".lw-depth .bqplot .object_grp path.dot"


def open_and_move_pages(notebook: Notebook, keys: Keyboard) -> None:
    keys.on(part(notebook, ".lw-tab[data-page=lens]"), "ArrowLeft", "Shift+Enter")
    notebook.expect_value("ex.pages", ["lens", "map"])
    keys.press("Alt+ArrowLeft")
    notebook.expect_value("ex.pages", ["map", "lens"])
    keys.press("Delete")
    notebook.expect_value("ex.pages", ["lens"])
    keys.press("Enter")
    notebook.expect_value("ex.pages", ["map"])


def train_and_keep_a_tuned_lens(notebook: Notebook, keys: Keyboard) -> None:
    notebook.run("import tempfile; page = ex.page('tuned'); page.epochs, page.max_positions = 1, 24")
    notebook.run("folder = tempfile.mkdtemp() + '/kept'")
    folder = notebook.value("folder")
    keys.reach(notebook.page.get_by_placeholder("A text to train on"))
    keys.type(TEXT)
    notebook.expect_value("page.text", TEXT)
    train = part(notebook, ".lw-request button")
    keys.on(train, "Enter")
    expect(part(notebook, ".lw-request")).to_have_attribute("data-state", "done", timeout=60_000)
    expect(train).to_be_focused()
    notebook.run("ex.wait()")
    keys.reach(notebook.page.get_by_placeholder("Folder of translators"))
    keys.type(folder)
    notebook.expect_value("page.folder.path.value", folder)
    keys.on(part(notebook, "button:text-is('Save')"), "Enter")
    notebook.expect_value("page.folder.said.value", f"Saved to {folder}.")
    notebook.run("page.translators = None; ex.wait()")
    keys.on(part(notebook, "button:text-is('Load')"), "Space")
    notebook.expect_value("page.folder.said.value", f"Loaded from {folder}.")
    notebook.expect_value("page.translators is not None", True)
    notebook.run("ex.wait()")
    # Each of the two lenses has its own button for what both do.
    for lens, colour in ((0, "kl"), (1, "faded")):
        keys.on(notebook.page.locator(".lw-explorer .lw-trust").nth(lens), "Enter")
        notebook.expect_value("page.tuned_view.colour", colour)
    keys.on(notebook.page.locator(".lw-lens .lw-scroll").nth(1), "PageUp", "Home", "ArrowRight")
    notebook.expect_value("[ex.layer, ex.position]", [29, 1])
    keys.on(part(notebook, ".lw-figure .widget-toggle-button:not(.mod-active)"), "Enter")
    notebook.expect_value("page.trust.quantity", notebook.value("list(page.trust.quantities)[1]"))


def read_attention(notebook: Notebook, keys: Keyboard) -> None:
    keys.on(part(notebook, ".lw-arcs"), "PageDown", "Home", "ArrowRight", "ArrowRight")
    expect(part(notebook, ".lw-attention .lw-facts")).to_contain_text("“␣of” → “iffel”")
    keys.press("Enter")
    notebook.expect_value("ex.position", 2)
    keys.on(part(notebook, ".lw-attention .lw-stays"), "ArrowDown")
    notebook.expect_value("ex.page('attention').attention_view.quantity != 'weights'", True)
    rollout = part(notebook, ".lw-rollout")
    keys.on(rollout.locator(".lw-matrix"), "PageDown")
    notebook.expect_value("ex.position", 20)
    # A new answer takes away what is pointed at.
    notebook.run("ex.wait()")
    notebook.rest()
    keys.press("Home", "ArrowRight")
    share = notebook.value("float(ex.results['rollout'].rollout[20, 1])")
    expect(rollout.locator(".lw-facts")).to_contain_text(f"“␣of” from “␣E” {share:.3f}")
    keys.on(rollout.locator("[type=checkbox]"), "Space")
    notebook.expect_value("ex.page('attention').rollout_view.hide_first", False)
    keys.on(part(notebook, ".lw-heat .lw-scroll"), "Home", "PageUp")
    notebook.expect_value("[ex.layer, ex.head]", [29, 0])


def score_the_heads(notebook: Notebook, keys: Keyboard) -> None:
    keys.on(part(notebook, ".lw-request button"), "Enter")
    expect(part(notebook, ".lw-request")).to_have_attribute("data-state", "done", timeout=60_000)
    sheet = "ex.page('attention').head_map.sheet"
    notebook.expect_value(sheet, "induction")
    keys.on(part(notebook, ".lw-heat select"), "ArrowDown")
    notebook.expect_value(f"{sheet} != 'induction'", True)
    keys.press("ArrowUp")
    notebook.expect_value(sheet, "induction")
    keys.on(part(notebook, ".lw-heat .lw-scroll"), "ArrowRight")
    notebook.expect_value("ex.head", 1)
    score = notebook.value("float(ex.page('attention').head_map.scores[0].values[ex.layer, ex.head])")
    readout = part(notebook, ".lw-heat .lw-heat-readout")
    expect(readout).to_contain_text("head 1 · induction: ")
    assert float(readout.inner_text().split(": ")[-1]) == pytest.approx(score, rel=6e-3, abs=6e-4)


def read_the_stream(notebook: Notebook, keys: Keyboard) -> None:
    keys.on(part(notebook, ".lw-heat .lw-scroll"), "PageUp", "ArrowDown", "Home")
    notebook.expect_value("[ex.layer, ex.position]", [28, 0])
    keys.on(part(notebook, ".lw-heat select"), "ArrowDown")
    notebook.expect_value("ex.page('residual').grid_view.sheet", part(notebook, ".lw-heat select").input_value())
    keys.on(part(notebook, ".lw-figure .widget-toggle-button:nth-child(2)"), "Enter")
    notebook.expect_value(
        "ex.page('residual').curves.quantity", notebook.value("list(ex.page('residual').curves.quantities)[1]")
    )


def take_a_logit_apart(notebook: Notebook, keys: Keyboard) -> None:
    notebook.run("ex.position = 20; ex.wait()")
    choices = notebook.page.locator(".lw-explorer .lw-token-choice")
    keys.on(choices.nth(0), "ArrowDown", "ArrowDown")
    notebook.expect_value("ex.token is not None", True)
    keys.on(choices.nth(1), "ArrowDown")
    notebook.expect_value("ex.page('attribution').parts.minus is not None", True)
    notebook.run("ex.wait()")
    first = part(notebook, ".lw-parts .lw-word:enabled")
    title = first.get_attribute("title") or ""
    keys.on(first, "Enter")
    notebook.expect_value("ex.layer", int(title.rsplit(" ", 1)[1]))
    notebook.run("ex.wait()")
    sources = part(notebook, ".lw-sources")
    keys.on(sources.locator(".lw-scroll"), "Home", "ArrowRight")
    value = notebook.value("float(ex.results['head_sources'].sources[1])")
    expect(sources.locator(".lw-heat-readout")).to_contain_text("“␣E” (position 1)")
    expect(sources.locator(".lw-heat-readout")).to_contain_text("-" if value < 0 else "logits")


def follow_a_neuron(notebook: Notebook, keys: Keyboard) -> None:
    keys.on(part(notebook, ".lw-neuron-rows .lw-neuron"), "ArrowDown", "Enter")
    table = "ex.page('neurons').table"
    notebook.expect_value(f"{table}.neuron is not None", True)
    notebook.run("ex.wait()")
    expect(part(notebook, ".lw-neuron-rows .lw-neuron:nth-child(2)")).to_have_attribute("aria-selected", "true")
    keys.on(part(notebook, ".lw-neuron-strip"), "ArrowLeft")
    notebook.expect_value("ex.position", 19)
    notebook.run("ex.wait()")
    # Where a page has no grid, the slider chooses the layer; Home is the lowest value of a slider, End the highest.
    notebook.run("ex.layers, ex.layer = '18-29', 24; ex.wait()")
    keys.on(part(notebook, ".lw-thumb-middle"), "Shift+Home")
    notebook.expect_value("ex.layer", 18)
    keys.press("Shift+End")
    notebook.expect_value("[ex.layer, ex.layers]", [29, "18-29"])


#: A pass stands still before its first layer, until `gate` is opened.
CLOSED = """
import threading
gate = threading.Event()
hook = model.hf_model.model.layers[0].register_forward_pre_hook(lambda *_: (gate.wait(60), None)[1])
"""


def read_the_depth(notebook: Notebook, keys: Keyboard) -> None:
    keys.on(part(notebook, ".lw-settle .lw-scroll"), "End", "ArrowDown")
    notebook.expect_value("[ex.layer, ex.position]", [28, 20])
    keys.on(part(notebook, ".lw-settle-shares"), "End", "ArrowLeft", "ArrowLeft")
    notebook.expect_value("ex.layer", 27)
    expect(part(notebook, ".lw-settle .lw-heat-readout")).to_contain_text("layer 27: ")
    request = part(notebook, ".lw-request")
    notebook.run(CLOSED)
    try:
        keys.on(request.locator("button").first, "Enter")
        expect(request.locator("button").nth(1)).to_be_focused()
        keys.press("Enter")
        # The kernel has heard it when what runs goes on.
        notebook.rest()
    finally:
        notebook.run("hook.remove(); gate.set()")
    expect(request).to_have_attribute("data-state", "stopped")
    expect(request.locator("button").first).to_be_focused()
    keys.on(part(notebook, ".lw-figure select"), "ArrowUp")
    notebook.expect_value("ex.page('depth').n", 3)
    keys.on(part(notebook, ".lw-loss-stage"), "Home", "ArrowRight")
    notebook.expect_value("ex.position", 1)


def compare(notebook: Notebook, keys: Keyboard) -> None:
    notebook.run("ex.page('compare').compare_with({'one': model, 'two': model}); ex.wait()")
    keys.on(part(notebook, ".noUi-handle"), "ArrowRight")
    notebook.expect_value("ex.page('compare').model_name", "two")
    keys.reach(part(notebook, ".lw-second textarea"))
    keys.press("Control+a")
    keys.type(SECOND)
    notebook.expect_value("ex.page('compare').prompt", SECOND)
    notebook.run("ex.wait(); ex.position = 20; ex.wait()")
    pair = part(notebook, ".lw-head-pair")
    expect(pair).to_have_class(re.compile(r"\blw-ready\b"), timeout=30_000)
    keys.on(pair.locator(".lw-pair-matrices"), "ArrowUp", "Home", "ArrowRight")
    notebook.expect_value("ex.position", 19)
    expect(pair.locator(".lw-heat-readout")).to_contain_text("→ “␣E” (1) · A ")
    notebook.run("ex.wait()")
    # A head may look most of all at the token itself, which is chosen already.
    chips = part(notebook, ".lw-strip").locator(".lw-chip-text").all_inner_texts()
    word = pair.locator(".lw-moved-row .lw-word:enabled").filter(has_not_text=chips[19]).first
    text = word.inner_text().split("→")[0]
    keys.on(word, "Enter")
    notebook.expect_value(f"ex.position in {[place for place, chip in enumerate(chips) if chip == text]}", True)
    # Other keys stand there now, and the focus has not gone.
    expect(pair.locator(".lw-moved-row .lw-word:focus")).to_have_count(1)
    keys.on(part(notebook, ".lw-heat .lw-scroll"), "End", "PageUp")
    notebook.expect_value("[ex.layer, ex.position]", [29, 20])
    keys.on(part(notebook, ".lw-figure .widget-toggle-button:nth-child(2)"), "Enter")
    notebook.expect_value("ex.page('compare').mode != 'change'", True)
    sheets = part(notebook, ".lw-heat select")
    sheet = sheets.input_value()
    keys.on(sheets, "ArrowDown")
    assert sheets.input_value() != sheet
    notebook.expect_value("ex.page('compare').grid_view.sheet", sheets.input_value())


def compare_something_else(notebook: Notebook, keys: Keyboard) -> None:
    about, of = (part(notebook, f".widget-dropdown:has(label:text-is('{name}')) select") for name in ("compare", "of"))
    component = notebook.value("ex.page('compare').component")
    keys.on(of, "ArrowUp")
    notebook.expect_value(f"ex.page('compare').component != {component!r}", True)
    keys.press("ArrowDown")
    notebook.expect_value("ex.page('compare').component", component)
    keys.on(about, "ArrowDown", "ArrowDown")
    notebook.expect_value("ex.page('compare').about", "attribution")
    keys.press("ArrowDown", "ArrowDown")
    notebook.expect_value("ex.page('compare').about", "layers")
    blocks = part(notebook, ".widget-dropdown:has(label:text-is('blocks of')) select")
    keys.on(blocks, "ArrowDown")
    notebook.expect_value("ex.page('compare').n", 2)
    keys.on(about, "Home")
    notebook.expect_value("ex.page('compare').about", "lens")
    keys.on(part(notebook, ".widget-checkbox:has-text('with JSD') input"), "Space")
    notebook.expect_value("ex.page('compare').jsd", True)
    keys.on(part(notebook, ".widget-checkbox:has-text('hide first token') input"), "Space")
    expect(part(notebook, ".lw-head-pair")).to_contain_text("first token hidden", timeout=30_000)
    notebook.run("ex.wait()")
    keys.on(part(notebook, ".widget-toggle-button:text-is('value-weighted')"), "Enter")
    notebook.expect_value("ex.page('compare').quantity", "value-weighted")
    # Beside it stands, unseen, the one of another subject.
    keys.on(part(notebook, ".lw-request:visible button"), "Enter")
    expect(part(notebook, ".lw-request:visible")).to_have_attribute("data-state", "done", timeout=60_000)


def step_through_scenes(notebook: Notebook, keys: Keyboard) -> None:
    notebook.run("ex.scenes = [lw.Scene('One', layers='4-9'), lw.Scene('Two', 'said'), lw.Scene('Three')]")
    bar = part(notebook, ".lw-scene-bar")
    keys.on(bar.get_by_role("button", name="Next scene"), "Enter", "Space")
    notebook.expect_value("ex.scene", 1)
    expect(part(notebook, ".lw-voice")).to_contain_text("Two: said")
    keys.on(bar.get_by_role("button", name="Previous scene"), "Enter")
    notebook.expect_value("ex.scene", 0)
    # It has no more to do: what leads through scenes from everywhere goes on.
    expect(notebook.page.locator(".lw-explorer")).to_be_focused()
    keys.press("PageDown", "Alt+ArrowRight")
    notebook.expect_value("ex.scene", 2)
    keys.press("PageUp", "PageUp")
    notebook.expect_value("ex.scene", 0)
    notebook.run("ex.wait(); ex.layer = 5")
    keys.press("Alt+ArrowUp")
    notebook.expect_value("[ex.layer, ex.layers]", [6, "4-9"])
    notebook.run("ex.scenes = ()")
    expect(bar).to_be_hidden()


#: Two explorers of small models, one of them with an encoder, among the parts of the other one.
SMALL = """
from tests.browser.all_views import random_encoder_decoder, random_model
short = lw.Explorer(random_model(), "ab" * 32, pages=["map"])
both = lw.Explorer(random_encoder_decoder(), "abc", target="def", pages=["cross"])
for small in (short, both):
    small.wait()
ex.children = (*ex.children, short, both)
"""


def go_on_past_the_trained_length_and_write_a_target(notebook: Notebook, keys: Keyboard) -> None:
    notebook.run(SMALL)
    short, both = (part(notebook, f":nth-last-child({place}).lw-explorer") for place in (2, 1))
    keys.reach(short.locator(".lw-prompt"))
    keys.press("Control+End")
    keys.type("c")
    notebook.expect_value("len(short.prompt)", 65)
    box = short.locator("[type=checkbox]:visible")
    expect(box).to_have_count(1)
    keys.on(box, "Space")
    notebook.expect_value("short.length_bar.extrapolate", True)
    notebook.run("short.wait()")
    expect(short.locator(".lw-strip-note")).to_contain_text("past the trained length")
    keys.reach(both.locator(".lw-target .lw-prompt"))
    keys.press("Control+End")
    keys.type("g")
    notebook.expect_value("both.target", "defg")
    notebook.run("both.wait()")
    keys.on(both.locator(".lw-target .lw-strip"), "End", "ArrowLeft")
    # Before all stands what the decoder starts with.
    notebook.expect_value("both.position", 3)
    keys.on(both.locator(".lw-attention .lw-matrix"), "End", "Home", "ArrowRight")
    weight = notebook.value("float(both.results['cross'].pattern[-1, 0, 3, 1])")
    expect(both.locator(".lw-attention .lw-facts")).to_contain_text(f"“f” → “b” {weight:.3f}")
    assert found_by_axe(notebook.page) == []
    notebook.run("ex.children = ex.children[:-2]; short.close(); both.close()")
    expect(notebook.page.locator(".lw-explorer")).to_have_count(1)


def stop_and_read_what_went_wrong(notebook: Notebook, keys: Keyboard) -> None:
    notebook.run(CLOSED)
    try:
        keys.reach(part(notebook, ".lw-prompt"))
        keys.press("Control+Home")
        keys.type("So ")
        stop = part(notebook, ".lw-stop")
        expect(stop).to_have_class(re.compile(r"\blw-shown\b"))
        keys.on(stop, "Enter")
        # The kernel has heard it when what runs goes on.
        notebook.rest()
    finally:
        notebook.run("hook.remove(); gate.set()")
    expect(part(notebook, ".lw-state")).to_have_text("stopped")
    expect(part(notebook, ".lw-checked")).to_be_focused()
    notebook.run("ex.error_panel.message, ex.error_panel.traceback = 'It went wrong.', 'here'")
    keys.on(part(notebook, ".lw-error summary"), "Enter")
    expect(part(notebook, ".lw-error pre")).to_be_visible()
    notebook.run("ex.complain(None)")


def walk_the_map(notebook: Notebook, keys: Keyboard) -> None:
    rows, title = part(notebook, ".lw-map-layers"), part(notebook, ".lw-map-head-title")
    notebook.run("ex.layers, ex.layer = '18-29', 24; ex.wait()")
    keys.on(rows, "ArrowDown")
    notebook.expect_value("ex.layer", 23)
    keys.press("Shift+ArrowUp")
    notebook.expect_value("[ex.layer, ex.layers]", [24, "23-24"])
    # At once, as fast as keys can come.
    keys.press("Home", "Shift+End")
    notebook.expect_value("[ex.layer, ex.layers]", [29, "0-29"])
    expect(title).to_have_text("Layer 29")
    notebook.run("ex.wait()")
    keys.press("Home")
    notebook.expect_value("[ex.layer, ex.layers]", [0, "0-29"])
    expect(title).to_have_text("Layer 0")
    keys.on(part(notebook, ".lw-map-end[type=button]"), "Enter")
    expect(title).to_contain_text("After layer 29")
    keys.on(part(notebook, ".lw-map-close"), "Enter")
    expect(title).to_have_text("The whole model")
    keys.on(part(notebook, ".lw-map-sort"), "Enter")
    expect(title).to_have_text("Layer 0")


#: Presses keys within one frame.
AT_ONCE = """(node, keys) => keys.forEach((key) => {
    node.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
})"""


def test_keys_that_come_faster_than_frames_all_count(notebook: Notebook) -> None:
    part(notebook, ".lw-lens .lw-scroll").evaluate(AT_ONCE, ["Home", *["ArrowRight"] * 3, *["ArrowDown"] * 2])
    notebook.expect_value("[ex.layer, ex.position]", [27, 3])
    part(notebook, ".lw-attention .lw-matrix").evaluate(AT_ONCE, ["PageDown", *["ArrowUp"] * 4])
    notebook.expect_value("ex.position", 16)
    show(notebook, "residual")
    part(notebook, ".lw-heat .lw-scroll").evaluate(AT_ONCE, ["Home", *["ArrowRight"] * 5, "PageUp", *["ArrowDown"] * 3])
    notebook.expect_value("[ex.layer, ex.position]", [26, 5])


#: Counts the tables that are made from now on, in `window.tablesMade`.
TABLES_MADE = """() => {
    window.tablesMade = 0;
    const seen = (changes) => changes.forEach(({ addedNodes }) => addedNodes.forEach((node) => {
        if (node.nodeName === "TABLE") window.tablesMade += 1;
    }));
    new MutationObserver(seen).observe(document.querySelector(".lw-explorer"), { childList: true, subtree: true });
}"""


def test_a_grid_has_a_table_while_it_has_the_focus_and_says_what_is_chosen(notebook: Notebook) -> None:
    keys = Keyboard(notebook)
    twin, voice = part(notebook, ".lw-lens .lw-twin"), part(notebook, ".lw-voice")
    expect(notebook.page.locator(".lw-explorer :is([aria-live], [role=status], [role=log])")).to_have_count(1)
    expect(twin.locator("td")).to_have_count(0)
    keys.reach(part(notebook, ".lw-prompt"))
    notebook.page.evaluate(TABLES_MADE)
    keys.press("Control+End")
    keys.type("s")
    notebook.expect_value("ex.prompt", PROMPT + "s")
    notebook.run("ex.wait()")
    keys.press("Control+z")
    notebook.expect_value("ex.prompt", PROMPT)
    notebook.run("ex.wait()")
    # Whoever types pays nothing for it.
    assert notebook.page.evaluate("window.tablesMade") == 0
    keys.on(part(notebook, ".lw-lens .lw-scroll"), "ArrowDown", "ArrowLeft")
    lens = "ex.results['lens']"
    words = notebook.value(f"[model.tokenizer.decode([t]) for t in {lens}.top_ids[::-1, -3:, 0].flatten().tolist()]")
    probs = notebook.value(f"{lens}.top_probs[::-1, -3:, 0].flatten().tolist()")
    rows = twin.locator("tbody tr")
    expect(rows).to_have_count(12)
    for row in (0, 1, 11):
        told = [cell.rsplit(" ", 1) for cell in rows.nth(row).locator("td").all_inner_texts()[-3:]]
        for place, (word, prob) in enumerate(told):
            assert word.replace("␣", " ").strip() in words[3 * row + place]
            assert float(prob) == pytest.approx(probs[3 * row + place], abs=6e-4)
    expect(twin.locator("[aria-current=true]")).to_have_count(1)
    expect(voice).to_contain_text(f"layer 28, after ␣city, position 19: ␣{words[4].strip()} {probs[4]:.3f}")
    expect(rows.nth(1).locator("[aria-current=true]")).to_have_text(f"␣{words[4].strip()} {probs[4]:.3f}")
    keys.reach(part(notebook, ".lw-lens .lw-twin-button"))
    expect(twin.locator("td")).to_have_count(0)
    keys.press("Enter")
    expect(twin).to_be_focused()
    expect(twin.locator("table")).to_be_visible()
    keys.press("Escape")
    expect(part(notebook, ".lw-lens .lw-twin-button")).to_be_focused()
    expect(twin.locator("td")).to_have_count(0)


#: The ring of what has the focus against the ground behind it, as WCAG measures contrast.
_RING = """(node) => {
    const light = (text) => {
        const [r, g, b] = text.match(/[\\d.]+/g).map((each) => each / 255)
            .map((each) => (each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const { outlineColor, outlineStyle, outlineWidth } = getComputedStyle(node);
    const ground = getComputedStyle(node.closest(".lw, .lw-explorer")).backgroundColor;
    const [low, high] = [light(outlineColor), light(ground)].sort((a, b) => a - b);
    return { outlineStyle, width: parseFloat(outlineWidth), contrast: (high + 0.05) / (low + 0.05) };
}"""
RINGS = (
    ".lw-prompt",
    ".lw-strip",
    ".lw-thumb-first",
    ".lw-lens .lw-scroll",
    ".lw-gallery",
    ".lw-figure .widget-toggle-button",
)


def test_the_ring_of_the_focus_is_seen_in_every_theme(notebook: Notebook) -> None:
    keys = Keyboard(notebook)
    for theme in ("light", "dark", "dark high contrast", "forced"):
        notebook.use_theme("light" if theme == "forced" else theme)  # type: ignore[arg-type]
        notebook.page.emulate_media(forced_colors="active" if theme == "forced" else "none")
        for css in RINGS:
            ring = keys.reach(part(notebook, css)).evaluate(_RING)
            assert ring["outlineStyle"] == "solid", (theme, css)
            assert ring["width"] >= 2, (theme, css)
            assert ring["contrast"] >= 3, (theme, css, ring)


def test_nothing_moves_for_whoever_wants_it_so(notebook: Notebook) -> None:
    moving = """() => [...document.querySelectorAll(".lw-explorer, .lw-explorer *")].filter((node) => {
        const { transitionDuration, animationName } = getComputedStyle(node);
        return transitionDuration.split(", ").some((time) => parseFloat(time) > 0) || animationName !== "none";
    }).length"""
    assert notebook.page.evaluate(moving) > 0
    notebook.page.emulate_media(reduced_motion="reduce")
    assert notebook.page.evaluate(moving) == 0


def test_the_systems_own_colours_leave_what_is_data_to_be_seen(notebook: Notebook) -> None:
    notebook.page.emulate_media(forced_colors="active")
    notebook.screenshot("explorer-forced-colors", ".lw-explorer")
    bar = part(notebook, ".lw-bar-fill")
    painted = "node => getComputedStyle(node).backgroundColor !== getComputedStyle(node.closest('.lw')).backgroundColor"
    for node in (bar, part(notebook, ".lw-rail-layer.lw-in")):
        assert node.evaluate(painted)
    assert part(notebook, ".lw-ramp").evaluate("node => getComputedStyle(node).backgroundImage !== 'none'")
    pressed, other = (part(notebook, f".lw-tab-box{css}") for css in (".lw-open", ":not(.lw-open)"))
    line = "node => getComputedStyle(node).borderBottomColor"
    assert pressed.evaluate(line) != other.evaluate(line)
