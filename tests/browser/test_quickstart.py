"""The quickstart in a real JupyterLab, driven as a person would: type, drag, hover, click, and read Python back."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.axe import found_by_axe
from tests.browser.explorer_page import BOXES, PROMPT, ExplorerPage

#: How many colours a canvas shows.
COLOURS = """(canvas) => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return new Set(new Uint32Array(data.buffer)).size;
}"""


def test_typing_changes_the_grid_to_the_right_words(explorer: ExplorerPage) -> None:
    explorer.prompt.click()
    explorer.prompt.press("ControlOrMeta+a")
    explorer.prompt.type("The capital of France is")
    explorer.settle()
    expect(explorer.chips).to_have_count(5)
    explorer.notebook.run("ex.wait(); ex.layer = 29")
    expect(explorer.words.first).to_have_text("␣Paris")
    explorer.notebook.expect_value("ex.prompt", "The capital of France is")
    top = explorer.notebook.value(
        "[int(ex.results['lens'].top_ids[-1, -1, 0]), float(ex.results['lens'].max_prob[-1, -1])]"
    )
    assert top[1] == pytest.approx(0.7725, abs=0.001)
    expect(explorer.root.locator(".lw-words .lw-number").first).to_have_text(f"{top[1]:.3f}")


#: Notes in `window.told`, in order, the keys that a text box has heard and the prompts whose answers were drawn.
NOTE_KEYS_AND_ANSWERS = """([box, lens]) => {
    window.told = [];
    const key = () => window.told.push("key");
    const drawn = new MutationObserver(() => window.told.push(lens.dataset.prompt));
    box.addEventListener("input", key);
    drawn.observe(lens, { attributes: true, attributeFilter: ["data-prompt"] });
    window.noteNoMore = () => { box.removeEventListener("input", key); drawn.disconnect(); };
}"""
#: A pass takes longer than the time between two keys.
SLOW_LAYERS = """
import time
slow = [layer.register_forward_pre_hook(lambda *_: time.sleep(0.01)) for layer in model.hf_model.model.layers]
"""
NOT_SLOW = "[hook.remove() for hook in slow]"


@pytest.mark.parametrize("layers", ["", SLOW_LAYERS], ids=["as they are", "slow"])
def test_forty_characters_at_twelve_per_second_lose_none_and_are_answered_meanwhile(
    explorer: ExplorerPage, layers: str
) -> None:
    text = "When in Rome, do as the Romans do there."
    assert len(text) == 40
    notebook, page = explorer.notebook, explorer.notebook.page
    # What can be reused of a pass is known by then.
    explorer.expect_checked()
    explorer.prompt.fill("")
    expect(explorer.state).to_have_text("waiting for a prompt")
    page.evaluate(NOTE_KEYS_AND_ANSWERS, [explorer.prompt.element_handle(), explorer.lens.element_handle()])
    notebook.run(f"slow = []\n{layers}")
    try:
        explorer.prompt.type(text, delay=1000 / 12)
        told = page.evaluate("window.told")
        # Where something else takes the cores, too, each answer takes longer: then whoever goes on typing sees them.
        while len(set(_answered_between_keys(told))) < 2 and len(text) < 100:
            explorer.prompt.type(" Indeed", delay=1000 / 12)
            text += " Indeed"
            told = page.evaluate("window.told")
    finally:
        notebook.run(NOT_SLOW)
        page.evaluate("window.noteNoMore()")
    assert explorer.prompt.input_value() == text
    explorer.settle()
    notebook.expect_value("ex.prompt", text)
    notebook.expect_value("ex.results['lens'].token_ids.tolist() == model.tokenize(ex.prompt).ids.tolist()", True)
    assert explorer.prompt.evaluate("area => document.activeElement === area")
    # Each answer is about what had been typed; one comes early, and others before the last key.
    assert told.count("key") == len(text)
    answers = {told[:place].count("key"): what for place, what in enumerate(told) if what not in {"key", ""}}
    assert all(text[:n_keys].startswith(prompt) for n_keys, prompt in answers.items())
    assert len(set(_answered_between_keys(told))) >= 2
    assert min(answers) <= 20


def _answered_between_keys(told: list[str]) -> list[str]:
    """The prompts that were drawn before the last key, in order; not the empty one."""
    last = len(told) - told[::-1].index("key")
    return [what for what in told[:last] if what not in {"key", ""}]


#: Which pictures are drawn, and how long after the last key.
NOTE_DRAWINGS = """(box) => {
    const clear = CanvasRenderingContext2D.prototype.clearRect;
    window.drawn = [];
    let pressed = 0;
    const key = () => { pressed = performance.now(); window.drawn.length = 0; };
    box.addEventListener("keydown", key, true);
    CanvasRenderingContext2D.prototype.clearRect = function (...area) {
        const view = this.canvas.closest(".lw-lens, .lw-gallery");
        const name = view?.classList.contains("lw-lens") ? "lens" : "gallery";
        if (view) window.drawn.push([name, performance.now() - pressed]);
        return clear.apply(this, area);
    };
    window.noteNoDrawings = () => {
        CanvasRenderingContext2D.prototype.clearRect = clear;
        box.removeEventListener("keydown", key, true);
    };
}"""


def test_a_key_draws_each_picture_once(explorer: ExplorerPage) -> None:
    page = explorer.notebook.page
    explorer.expect_checked()
    # More tokens than the grid has room for: with each one more it is scrolled.
    explorer.prompt.fill("one two three four five six seven eight nine ten " * 4)
    explorer.settle()
    page.evaluate(NOTE_DRAWINGS, explorer.prompt.element_handle())
    try:
        for key in "rain on the":
            explorer.prompt.press_sequentially(key)
            explorer.settle()
            page.wait_for_timeout(100)
            drawn = page.evaluate("window.drawn")
            assert {"lens", "gallery"} == {view for view, _ in drawn}, key
            # Whatever takes longer is dimmed, for which it is drawn once more.
            soon = [view for view, after_ms in drawn if after_ms < 350]
            assert len(soon) == len(set(soon)), (key, drawn)
    finally:
        page.evaluate("window.noteNoDrawings()")


#: What happens first when a key is pressed: a message leaves for the kernel, or a view hears of the new text.
NOTE_ORDER = """() => {
    const { kernel } = jupyterapp.shell.currentWidget.context.sessionContext.session;
    window.order = [];
    const sent = (_, { direction }) => { if (direction === "send") window.order.push("sent"); };
    const heard = (name) => { if (name === "prompt") window.order.push("heard"); };
    kernel.anyMessage.connect(sent);
    const groups = [...layerwidgetGroups.values()];
    for (const group of groups) group.listeners.add(heard);
    window.noteNoOrder = () => {
        kernel.anyMessage.disconnect(sent);
        for (const group of groups) group.listeners.delete(heard);
    };
}"""


def test_a_key_leaves_for_the_kernel_before_the_page_does_anything_else(explorer: ExplorerPage) -> None:
    explorer.notebook.page.evaluate(NOTE_ORDER)
    try:
        explorer.prompt.press_sequentially("x")
        explorer.settle()
        order = explorer.notebook.page.evaluate("window.order")
        assert order[:2] == ["sent", "heard"], order
    finally:
        explorer.notebook.page.evaluate("window.noteNoOrder()")


#: The page loses the binary part of all that the kernel sends to widgets that are made from now on.
LOSE_BUFFERS = """() => {
    const { kernel } = jupyterapp.shell.currentWidget.context.sessionContext.session;
    const known = new Set(kernel._comms.keys());
    window.buffersLost = 0;
    kernel._handleCommMsg = (message) => {
        const lost = message.buffers?.length && !known.has(message.content.comm_id);
        if (lost) window.buffersLost += 1;
        return Object.getPrototypeOf(kernel)._handleCommMsg.call(kernel, lost ? { ...message, buffers: [] } : message);
    };
}"""
FIND_BUFFERS = "() => { delete jupyterapp.shell.currentWidget.context.sessionContext.session.kernel._handleCommMsg; }"
LOSSY_VIEW = "lossy = lw.LogitLensView(ex.results['lens'], layers='18-29', layer=29, position=20)\nlossy"


def test_a_page_that_loses_binary_data_draws_all_the_same(explorer: ExplorerPage) -> None:
    notebook, page = explorer.notebook, explorer.notebook.page
    page.evaluate(LOSE_BUFFERS)
    try:
        with notebook.one_more_cell(LOSSY_VIEW) as cell:
            lens, numbers = cell.locator(".lw-lens"), cell.locator(".lw-words .lw-number")
            expect(lens).to_have_class(re.compile(r"\blw-ready\b"))
            said = notebook.value("[f'{p:.3f}' for p in ex.results['lens'].top_probs[29, 20]]")
            expect(numbers).to_have_text(said)
            assert page.evaluate("window.buffersLost") > 0
            assert notebook.value("lossy._as_text")
            lost = page.evaluate("window.buffersLost")
            # Cells in many shades, and words in them.
            assert lens.locator(".lw-scroll canvas").evaluate(COLOURS) > 50
            # From then on nothing is lost: another result comes as text, too.
            notebook.run("lossy.show(lw.LogitLens(k=10).run(model.trace('The capital of France is')))")
            said = notebook.value("[f'{p:.3f}' for p in lossy._top_probs[29, 4]]")
            expect(numbers).to_have_text(said)
            assert page.evaluate("window.buffersLost") == lost
    finally:
        page.evaluate(FIND_BUFFERS)
        notebook.run("lossy.close()")


#: Of each chip: whether its text is cut off at its edge, and how far it sticks out of the chip.
CUTS = """(chips) => chips.map((chip) => {
    const box = chip.firstChild;
    const cut = getComputedStyle(box).overflowX !== "visible";
    const text = document.createRange();
    text.selectNodeContents(box);
    const { right } = (cut ? box : text).getBoundingClientRect();
    return [cut, right - chip.getBoundingClientRect().right, chip.offsetWidth];
})"""


def test_only_what_is_too_long_for_its_chip_is_cut_off(explorer: ExplorerPage) -> None:
    # What cuts off takes the page time at every frame, be it needed or not.
    notebook, long = explorer.notebook, "=" * 64
    notebook.run(f"ex.prompt = 'The incomprehensibilities of Paris 東京の塔 \\u202e ﷽ 🙂\\n{long}'; ex.wait()")
    explorer.settle()
    chips = explorer.chips.evaluate_all(CUTS)
    texts = explorer.root.locator(".lw-chip-text").all_inner_texts()
    assert len(chips) == len(texts)
    assert all(out < 0 and width <= 240 for _, out, width in chips), chips
    assert not any(cut for (cut, *_), text in zip(chips, texts, strict=True) if text.isascii() and len(text) <= 12)
    assert sum(not cut for cut, *_ in chips) > len(chips) / 2
    assert dict(zip(texts, chips, strict=True))[long][0]


#: Of each token, as the kernel knows them: what its chip says, and its title.
CHIPS = "[[p.visible, f'token id {p.id}, position {i}'] for i, p in enumerate(model.tokenize(ex.prompt))]"
SHOWN_CHIPS = "(chips) => chips.map((chip) => [chip.firstChild.textContent, chip.title])"


def test_chips_follow_every_kind_of_edit(explorer: ExplorerPage) -> None:
    text = "The cat sat on the mat and looked at the sea"
    longer, shorter = text.replace("sat", "quietly sat down"), text.replace("cat sat", "dog")
    # Shorter and longer, from the middle, from the start, the same again, and a beginning alone.
    for edited in (text, longer, text, shorter, f"So {text}", text, "The cat", "", longer):
        explorer.prompt.fill(edited)
        if edited:
            explorer.settle()
            assert explorer.chips.evaluate_all(SHOWN_CHIPS) == explorer.notebook.value(CHIPS), edited
        else:
            expect(explorer.chips).to_have_count(0)


def drag_end(explorer: ExplorerPage, part: str, by_layers: float) -> None:
    x, y, height = explorer.grab_thumb(part)
    mouse = explorer.notebook.page.mouse
    for step in range(1, 11):
        mouse.move(x, y - by_layers * height / 30 * step / 10)


def test_dragging_the_slider_sends_nothing_until_release(explorer: ExplorerPage) -> None:
    page = explorer.notebook.page
    explorer.root.locator(".lw-rail-stage").scroll_into_view_if_needed()
    explorer.notebook.count_messages()
    drag_end(explorer, "first", -6)
    title = explorer.lens.locator(".lw-detail")
    expect(title).to_contain_text("layers 12–29")
    assert page.evaluate("window.sentToKernel") == 0
    page.mouse.up()
    explorer.notebook.rest()
    assert page.evaluate("window.sentToKernel") == 1
    explorer.notebook.expect_value("ex.layers", "12-29")
    explorer.notebook.run("ex.wait()")
    explorer.notebook.expect_value("list(ex.slider.value)", [12, 29])
    explorer.notebook.expect_value("list(ex.results['attention'].layers)", list(range(12, 30)))


def test_slider_by_keyboard_and_presets(explorer: ExplorerPage) -> None:
    explorer.root.locator(".lw-thumb-first").focus()
    explorer.notebook.page.keyboard.press("ArrowUp")
    expect(explorer.lens.locator(".lw-detail")).to_contain_text("layers 19–29")
    explorer.root.locator(".lw-thumb-middle").focus()
    explorer.notebook.page.keyboard.press("ArrowDown")
    expect(explorer.lens.locator(".lw-detail")).to_contain_text("layers 18–28")
    for name, layers in {"early": "0–7", "middle": "8–21", "late": "22–29", "all": "0–29"}.items():
        explorer.root.locator(f"[data-preset={name}]").click()
        expect(explorer.lens.locator(".lw-detail")).to_contain_text(f"layers {layers}")
    explorer.notebook.run("ex.wait()")
    explorer.notebook.expect_value("ex.layers", "0-29")


def test_hover_shows_the_words_of_a_cell_and_a_click_selects_it(explorer: ExplorerPage) -> None:
    title = explorer.root.locator(".lw-top .lw-panel-title")
    explorer.grid.hover(position=explorer.cell(1, 20, 12))
    expect(title).to_contain_text("layer 28 · after “␣of” (position 20)")
    expect(explorer.root.locator(".lw-words .lw-number").first).to_have_text("0.125")
    explorer.grid.click(position=explorer.cell(2, 9, 12))
    explorer.notebook.page.mouse.move(0, 0)
    expect(title).to_contain_text("layer 27 · after “␣Paris” (position 9)")
    expect(explorer.root.locator(".lw-chip.lw-here")).to_contain_text("␣Paris")
    expect(explorer.attention.locator(".lw-matrix-side .lw-panel-title")).to_contain_text("layer 27")
    explorer.notebook.expect_value("[ex.layer, ex.position]", [27, 9])


def head_tile(explorer: ExplorerPage, row: int, head: int) -> tuple[Locator, dict[str, float]]:
    gallery = explorer.root.locator(".lw-gallery canvas")
    box = gallery.bounding_box()
    assert box is not None
    # Below the tiles stand the numbers of the heads.
    height = (box["height"] - 30) / 12
    width = min(height * 2.1, (box["width"] - 26) / 9)
    return gallery, {"x": 26 + (head + 0.5) * width, "y": (row + 0.5) * height}


def test_pointing_sends_nothing_and_what_is_chosen_is_one_message(explorer: ExplorerPage) -> None:
    notebook, readout = explorer.notebook, explorer.attention.locator(".lw-facts")
    title = explorer.root.locator(".lw-top .lw-panel-title")
    head = explorer.attention.locator(".lw-matrix-side .lw-panel-title")
    gallery = explorer.root.locator(".lw-gallery canvas")
    notebook.page.set_viewport_size({"width": 1280, "height": 1300})
    notebook.count_messages()

    def sent() -> int:
        notebook.rest()
        n_messages: int = notebook.page.evaluate("window.sentToKernel")
        return n_messages

    for row, column in ((1, 20), (4, 3), (11, 12)):
        explorer.grid.hover(position=explorer.cell(row, column, 12))
        expect(title).to_contain_text(f"layer {29 - row} · after")
        expect(title).to_contain_text(f"(position {column})")
        gallery.hover(position=head_tile(explorer, row, column % 9)[1])
        expect(explorer.root.locator(".lw-gallery")).to_have_attribute("title", f"layer {29 - row}, head {column % 9}")
    assert sent() == 0
    colours, hints = explorer.lens.get_by_label("Colour of the cells"), explorer.lens.locator(".lw-legend")
    for n_sent, (colour, end) in enumerate({"entropy": "10.8 nats", "kl": "≥20 nats", "probability": "1"}.items(), 1):
        colours.select_option(colour)
        expect(hints).to_contain_text(end)
        assert sent() == n_sent
    explorer.grid.click(position=explorer.cell(2, 9, 12))
    expect(head).to_contain_text("layer 27")
    assert sent() == 4
    explorer.chips.nth(13).click()
    expect(explorer.root.locator(".lw-chip.lw-here")).to_contain_text("␣Col")
    assert sent() == 5
    gallery.click(position=head_tile(explorer, row=7, head=2)[1])
    expect(head).to_contain_text("layer 22 · head 2")
    expect(readout).not_to_contain_text("≈")
    assert sent() == 6
    notebook.expect_value("[ex.layer, ex.head, ex.position, ex.lens_view.colour]", [22, 2, 13, "probability"])


def test_a_click_on_a_head_shows_its_matrix(explorer: ExplorerPage) -> None:
    gallery, place = head_tile(explorer, row=11, head=6)
    gallery.click(position=place)
    expect(explorer.attention.locator(".lw-matrix-side .lw-panel-title")).to_contain_text("layer 18 · head 6")
    readout = explorer.attention.locator(".lw-facts")
    expect(readout).to_contain_text("“␣of” → “␣Paris” 0.52")
    explorer.notebook.expect_value("[ex.selection.layer, ex.selection.head]", [18, 6])
    weight = explorer.notebook.value("float(ex.results['attention'].pattern[0, 6, 20, 9])")
    expect(readout).to_contain_text(f"{weight:.3f}")
    explorer.attention.locator("select").select_option("mean")
    expect(explorer.attention.locator(".lw-matrix-side .lw-panel-title")).to_contain_text("mean of layers 18–29")
    explorer.notebook.expect_value("ex.attention_view.show_heads", "mean")


def matrix_cell(query: int, key: int) -> dict[str, float]:
    """Where a cell of the matrix of 21 tokens is: 66 px of labels on its left, 52 px below."""
    cell = (336 - 52) / 21
    return {"x": 66 + (key + 0.5) * cell, "y": (query + 0.5) * cell}


def test_the_readout_says_pythons_numbers_and_hovering_asks_for_none(explorer: ExplorerPage) -> None:
    page, readout = explorer.notebook.page, explorer.attention.locator(".lw-facts")
    cells = [(20, 9), (13, 4), (7, 7), (18, 0), (5, 12)]
    pattern = "ex.results['attention'].pattern"
    numbers = explorer.notebook.value(f"['%.3f' % {pattern}[6, 3, q, k] for q, k in {cells}]")
    means = explorer.notebook.value(f"['%.3f' % {pattern}.mean((0, 1))[q, k] for q, k in {cells}]")
    assert len(set(numbers)) == 4
    assert numbers[-1] == "0.000"
    gallery, place = head_tile(explorer, row=5, head=3)
    matrix = explorer.root.locator(".lw-matrix canvas")
    gallery.scroll_into_view_if_needed()
    explorer.notebook.count_messages()
    gallery.click(position=place)
    expect(explorer.attention.locator(".lw-matrix-side .lw-panel-title")).to_contain_text("layer 24 · head 3")
    expect(readout).not_to_contain_text("≈")
    assert page.evaluate("window.sentToKernel") == 1
    for (query, key), number in zip(cells, numbers, strict=True):
        matrix.hover(position=matrix_cell(query, key))
        expect(readout).to_contain_text(f"” {number}")
        gallery.hover(position=head_tile(explorer, row=key % 12, head=query % 9)[1])
    assert page.evaluate("window.sentToKernel") == 1
    explorer.attention.locator("select").select_option("mean")
    for (query, key), number in zip(cells, means, strict=True):
        matrix.hover(position=matrix_cell(query, key))
        expect(readout).to_contain_text(f"” {number}")
    assert page.evaluate("window.sentToKernel") == 2


def test_the_lens_can_decode_what_a_sublayer_adds(explorer: ExplorerPage) -> None:
    chooser = explorer.lens.get_by_label("What is decoded")
    assert chooser.locator("option").count() == 7
    chooser.select_option("mlp_out")
    explorer.notebook.expect_value("ex.results['lens'].component", "mlp_out")
    expect(explorer.lens.locator(".lw-detail")).to_contain_text("mlp_out")
    expected = explorer.notebook.value(
        "[lw.LogitLens(layers=29, component='mlp_out', k=1).run(model.trace(ex.prompt)).top_ids[0, -1, 0].item(), "
        "ex.results['lens'].top_ids[-1, -1, 0].item()]"
    )
    assert expected[0] == expected[1]
    chooser.select_option("head_out")
    explorer.notebook.expect_value("ex.results['lens'].head", 6)
    expect(explorer.lens.locator(".lw-detail")).to_contain_text("head_out 6")
    explorer.notebook.run("ex.head = 3")
    explorer.notebook.expect_value("ex.results['lens'].head", 3)
    explorer.notebook.run("ex.head = 6")
    chooser.select_option("resid_post")
    explorer.notebook.expect_value("ex.results['lens'].component", "resid_post")


def test_until_the_numbers_are_there_the_colours_stand_in_and_say_so(explorer: ExplorerPage) -> None:
    readout = explorer.attention.locator(".lw-facts")
    explorer.notebook.run("ex.attention_view._publish_part = lambda *_: None")
    try:
        gallery, place = head_tile(explorer, row=11, head=6)
        gallery.click(position=place)
        expect(readout).to_contain_text(re.compile(r"“␣of” → “␣Paris” ≈ 0\.5[23] · hidden on the first token: ≈ 0\.42"))
        explorer.attention.locator("select").select_option("max")
        largest = explorer.notebook.value("float(ex.results['attention'].pattern.max((0, 1))[13, 4])")
        explorer.root.locator(".lw-matrix canvas").hover(position=matrix_cell(13, 4))
        words = explorer.notebook.value("[piece.visible for piece in ex.results['attention'].prompt_pieces()]")
        expect(readout).to_contain_text(f"“{words[13]}” → “{words[4]}” ≈ ")
        said = re.search(r"≈ (0\.\d\d) ", readout.inner_text())
        assert said is not None
        assert float(said[1]) == pytest.approx(largest, abs=0.01)
    finally:
        explorer.notebook.run("del ex.attention_view._publish_part")


def test_a_click_on_a_word_appends_it_and_undo_takes_it_back(explorer: ExplorerPage) -> None:
    expect(explorer.words.first).to_have_text("␣Rome")
    explorer.words.first.click()
    expect(explorer.prompt).to_have_value(PROMPT + " Rome")
    explorer.settle()
    expect(explorer.chips).to_have_count(22)
    explorer.notebook.page.keyboard.press("ControlOrMeta+z")
    expect(explorer.prompt).to_have_value(PROMPT)
    explorer.settle()
    explorer.notebook.expect_value("ex.prompt", PROMPT)
    explorer.words.first.click()
    expect(explorer.prompt).to_have_value(PROMPT + " Rome")
    explorer.root.locator(".lw-undo").click()
    expect(explorer.prompt).to_have_value(PROMPT)


def test_a_pinned_word_is_followed_over_the_grid(explorer: ExplorerPage) -> None:
    explorer.root.locator(".lw-words .lw-pin").first.click()
    expect(explorer.root.locator(".lw-pinned")).to_contain_text("␣Rome")
    expect(explorer.root.locator(".lw-pinned .lw-number")).to_have_text("0.971 · rank 0", timeout=60_000)
    explorer.lens.get_by_label("Colour of the cells").select_option("token_rank")
    explorer.notebook.expect_value("[ex.tokens == [ex.token], ex.lens_view.colour]", [True, "token_rank"])
    explorer.notebook.run("ex.wait()")
    rank = explorer.notebook.value("int(ex.results['lens'].token_ranks[20, 20, 0])")
    explorer.grid.hover(position=explorer.cell(9, 20, 12))
    expect(explorer.root.locator(".lw-pinned .lw-number")).to_contain_text(f"rank {rank}")


@pytest.mark.parametrize(
    "prompt", ["<script>alert(1)</script>", "你好，世界", "👩‍🚀 \u00a0\n\ttabs", "\ud800 half", "a", " "]
)
def test_hostile_prompts_are_shown_and_the_next_edit_works(explorer: ExplorerPage, prompt: str) -> None:
    explorer.notebook.run(f"ex.prompt = {prompt!r}; ex.wait()")
    expect(explorer.prompt).not_to_have_value(PROMPT)
    explorer.settle()
    count = explorer.notebook.value("len(ex.results['lens'].token_ids)")
    expect(explorer.chips).to_have_count(count)
    explorer.prompt.fill(PROMPT)
    explorer.settle()
    expect(explorer.words.first).to_have_text(re.compile("Rome|the"))


def test_an_empty_prompt_and_an_error_leave_the_next_edit_working(explorer: ExplorerPage) -> None:
    explorer.prompt.fill("")
    expect(explorer.state).to_have_text("waiting for a prompt")
    expect(explorer.lens.locator(".lw-placeholder")).to_be_visible()
    explorer.notebook.expect_value("dict(ex.results)", {})
    explorer.notebook.run("model.n_ctx, kept = 3, model.n_ctx")
    try:
        explorer.prompt.fill("one two three four five")
        error = explorer.root.locator(".lw-error-message")
        expect(error).to_contain_text("5 tokens")
        explorer.root.locator(".lw-error summary").click()
        expect(explorer.root.locator(".lw-error pre")).to_contain_text("Traceback")
    finally:
        explorer.notebook.run("model.n_ctx = kept")
    explorer.prompt.fill("one two three")
    explorer.settle()
    expect(error).to_be_hidden()


#: An error whose words take more than one line.
FAILING = "ex.complain(lw.SceneError('No such scene: ' + 'its direction is as wide as the stream, ' * 9 + 'or so.'))"


@pytest.mark.parametrize("preset", ["explore", "talk"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_an_error_is_read_in_full_under_the_prompt(explorer: ExplorerPage, theme: str, preset: str) -> None:
    explorer.notebook.use_theme(theme)  # type: ignore[arg-type]
    explorer.notebook.run(f"ex.preset = {preset!r}; ex.wait()")
    explorer.notebook.rest()
    editor, stack = explorer.root.locator(".lw-editor"), explorer.root.locator(".lw-stack")
    before = [bounds(editor), bounds(stack)]
    explorer.notebook.run(FAILING)
    panel = explorer.root.locator(".lw-error")
    expect(panel.get_by_role("alert")).to_contain_text("No such scene")
    explorer.notebook.rest()
    (_, foot), (top, bottom), (below, _) = bounds(editor), bounds(panel), bounds(stack)
    assert foot <= top < bottom <= below
    message = panel.locator(".lw-error-message")
    assert message.evaluate("node => [node.scrollWidth > node.clientWidth, node.clientHeight > 30]") == [False, True]
    explorer.notebook.screenshot(f"error-{preset}-{theme}", ".lw-explorer")
    assert found_by_axe(explorer.notebook.page) == []
    explorer.notebook.run("ex.complain(None)")
    expect(panel).to_be_hidden()
    # What is not there takes no room.
    assert [bounds(editor), bounds(stack)] == before


def bounds(part: Locator) -> tuple[int, int]:
    """Where a part of the explorer begins and ends, from top to bottom."""
    top, bottom = part.evaluate(
        """(node) => {
            const [own, root] = [node, node.closest(".lw-explorer")].map((one) => one.getBoundingClientRect());
            return [own.top - root.top, own.bottom - root.top].map(Math.round);
        }"""
    )
    return top, bottom


def test_python_moves_the_page(explorer: ExplorerPage) -> None:
    explorer.notebook.run("ex.layers = 'late'; ex.selection = lw.Selection(layer=23, head=2, position=5); ex.wait()")
    expect(explorer.lens.locator(".lw-detail")).to_contain_text("layers 22–29")
    expect(explorer.root.locator(".lw-top .lw-panel-title")).to_contain_text("layer 23 · after “␣in” (position 5)")
    expect(explorer.attention.locator(".lw-matrix-side .lw-panel-title")).to_contain_text("layer 23 · head 2")
    explorer.notebook.run("ex.prompt = 'A new prompt from Python'; ex.wait()")
    expect(explorer.prompt).to_have_value("A new prompt from Python")


def test_views_alone_are_drawn_and_linked(explorer: ExplorerPage) -> None:
    alone = explorer.notebook.page.locator(".lw-lens").nth(1)
    expect(alone.locator(".lw-words .lw-word").first).to_have_text("␣Paris")
    explorer.notebook.run("view.position = 1")
    curve = explorer.notebook.page.locator(".lw-depth").nth(1).locator(".lw-detail")
    expect(curve).to_contain_text("after “␣capital”")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_is_cut_or_jumps_in_either_theme(explorer: ExplorerPage, theme: str) -> None:
    explorer.notebook.use_theme(theme)  # type: ignore[arg-type]
    explorer.notebook.page.set_viewport_size({"width": 1280, "height": 1400})
    explorer.notebook.rest()
    parts = explorer.root.locator(".lw-strip, .lw-rail-stage, .lw-scroll, .lw-top, .lw-gallery, .lw-matrix, .lw-depth")
    before = parts.evaluate_all(BOXES)
    explorer.notebook.screenshot(f"explorer-{theme}", ".lw-explorer")
    explorer.prompt.press("End")
    explorer.prompt.type(" Rome.")
    explorer.settle()
    assert parts.evaluate_all(BOXES) == before
    overflow = explorer.root.evaluate("root => root.scrollWidth - root.clientWidth")
    assert overflow <= 0
