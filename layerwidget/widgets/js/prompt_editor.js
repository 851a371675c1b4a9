// The prompt: a text box, and below it a chip for each token.

import { shareTraits } from "./bus.js";
import { KEYS, element, keepInSight, onFrame, setText, watchLook } from "./dom.js";
import { withStore } from "./store.js";
import { makeVoice } from "./voice.js";

/** Text that surely fits into a chip: others are cut off there, which takes 2 ms of every frame for 256 chips. */
const FITS = /^[\x20-\u024f\u2010-\u24ff\u3040-\u9fff]{0,12}$/;

/** How many tokens two texts begin with alike. */
export function commonStart(one, other) {
  const most = Math.min(one.ids.length, other.ids.length);
  let count = 0;
  while (count < most && one.ids[count] === other.ids[count] && one.visible[count] === other.visible[count]) count += 1;
  return count;
}

const NO_TOKENS = { ids: [], visible: [] };

/** Token strip: one chip per token, reused from edit to edit so that nothing flickers; `before` is what it shows. */
function drawChips(strip, data, before, select, choosable) {
  const count = data.ids.length;
  while (strip.children.length > count) strip.lastChild.remove();
  for (let index = strip.children.length; index < count; index += 1) {
    const chip = element("button", { ...KEYS, class: "lw-chip", type: "button", role: "option", tabindex: -1, "aria-selected": "false", "aria-disabled": String(!choosable) },
      element("span", { class: "lw-chip-text" }), element("span", { class: "lw-chip-index" }, String(index)));
    chip.addEventListener("click", () => select(index));
    strip.append(chip);
  }
  for (let index = commonStart(before, data); index < count; index += 1) {
    const chip = strip.children[index];
    const title = `token id ${data.ids[index]}, position ${index}`;
    setText(chip.firstChild, data.visible[index]);
    chip.firstChild.classList.toggle("lw-long", !FITS.test(data.visible[index]));
    chip.title = title;
  }
}

/** The most lines of a prompt that are seen at once. */
const MOST_LINES = 7;

/** Height of the text box in px: all its lines, up to a whole number of them; `edges` is what it is higher than its text. */
export function promptHeight(text, line, edges) {
  return Math.min(MOST_LINES * line, Math.max(line, text)) + edges;
}

export default withStore(({ model, el, store }) => {
  const shared = shareTraits(model, ["position"]);
  const readOnly = model.get("read_only");
  const area = element("textarea", {
    ...KEYS, class: "lw-prompt", rows: 1, spellcheck: "false",
    "aria-label": { prompt: "Prompt", second_prompt: "Second prompt", target: "Target" }[model.get("text_name")],
    placeholder: model.get("placeholder"),
  });
  const undo = element("button", { ...KEYS, class: "lw-button lw-undo", type: "button", title: "Undo the last change of the prompt", "aria-label": "Undo" }, "↶");
  const strip = element("div", { ...KEYS, class: "lw-strip", role: "listbox", tabindex: 0, "aria-label": "Tokens of the prompt: arrow keys choose a position" });
  area.readOnly = readOnly;
  undo.hidden = readOnly;
  const note = element("div", { class: "lw-strip-note" });
  el.classList.add("lw", "lw-editor");
  el.append(element("div", { class: "lw-prompt-row" }, area, undo), strip, note);

  const voice = makeVoice(shared, el);
  let replaced = false;
  let stopped = false;
  let fitted = null;
  const fitHeight = () => {
    // Measuring makes the page lay itself out: a letter more that fits needs none of it.
    const grows = fitted !== null && area.value.startsWith(fitted) && area.scrollHeight <= area.clientHeight;
    fitted = area.value;
    if (grows) return;
    area.style.height = "auto";
    area.style.height = `${promptHeight(area.scrollHeight, parseFloat(getComputedStyle(area).lineHeight), area.offsetHeight - area.clientHeight)}px`;
  };
  const send = () => {
    // Half of a surrogate pair cannot cross to the kernel.
    const text = area.value.toWellFormed ? area.value.toWellFormed() : area.value;
    replaced = text !== area.value;
    model.set("prompt", text);
    // The kernel first: it takes longest.
    model.save_changes();
    tell();
    fitHeight();
  };
  const fromKernel = () => {
    const text = model.get("prompt");
    // The text belongs to the browser while it is being edited.
    if (document.activeElement === area && area.dataset.touched) return;
    // A text area knows one kind of line end.
    if (area.value !== text.replace(/\r\n?/g, "\n")) {
      area.value = text;
      fitHeight();
    }
    tell();
  };
  const textName = model.get("text_name");
  // Where nothing can be typed, nothing is ever behind the text, and no word can be appended to it.
  const tell = () => { if (!readOnly) shared.tell(textName, model.get("prompt")); };
  const append = (text) => {
    area.focus();
    area.setSelectionRange(area.value.length, area.value.length);
    // Through the editor's own command, so that the browser's undo takes it back.
    if (!document.execCommand("insertText", false, text)) {
      area.value += text;
      send();
    }
    area.scrollTop = area.scrollHeight;
  };
  // What an encoder reads is no position of the decoder.
  const choosable = () => model.get("choosable");
  const select = (position) => choosable() && shared.set({ position });
  const setMark = (chip, marked) => {
    chip?.classList.toggle("lw-here", marked);
    chip?.setAttribute("aria-selected", String(marked));
  };
  let marked = null;
  const mark = () => {
    const chip = choosable() ? strip.children[shared.get("position")] : null;
    if (chip !== marked) setMark(marked, false);
    setMark(chip, true);
    marked = chip;
    if (chip) keepInSight(strip, chip);
    strip.dataset.tip = chip ? `${chip.firstChild.textContent} · ${chip.title}` : "";
  };
  let drawn = NO_TOKENS;
  const draw = onFrame(() => {
    const tokens = store.data ?? NO_TOKENS;
    drawChips(strip, tokens, drawn, select, choosable());
    drawn = tokens;
    const said = note.textContent;
    note.textContent = replaced ? "Half a character, which cannot be encoded, is read as U+FFFD." : store.data?.note ?? "";
    if (note.textContent !== said) voice.say(() => note.textContent, { slot: "note" });
    mark();
  });
  area.addEventListener("input", () => { area.dataset.touched = "1"; send(); });
  area.addEventListener("blur", () => {
    delete area.dataset.touched;
    fromKernel();
  });
  // JupyterLab takes these keys for its own menu before the browser sees them.
  area.addEventListener("keydown", (event) => {
    const key = event.key.toLowerCase();
    if (!(event.ctrlKey || event.metaKey) || event.altKey || (key !== "z" && key !== "y")) return;
    event.preventDefault();
    event.stopPropagation();
    document.execCommand(key === "y" || event.shiftKey ? "redo" : "undo");
  });
  undo.addEventListener("click", () => { area.focus(); document.execCommand("undo"); });
  strip.addEventListener("keydown", (event) => {
    const count = strip.children.length;
    const position = shared.get("position");
    const target = { ArrowLeft: position - 1, ArrowRight: position + 1, Home: 0, End: count - 1 }[event.key];
    if (target === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    select(Math.min(count - 1, Math.max(0, target)));
    voice.say(() => strip.dataset.tip);
  });
  shared.listen((name, value) => {
    // At the end of a prompt that is being typed, the next token comes after its place.
    if (name === "position" && value < strip.children.length) mark();
    // Somebody else with this prompt has left the page.
    if (name === textName && value === undefined && !stopped) tell();
    if (name !== "append" || textName === "second_prompt" || (textName === "prompt" && !choosable())) return false;
    if (textName === "target" && readOnly) return false;
    append(value);
    return true;
  });
  const offStore = store.listen(draw);
  model.on("change:prompt", fromKernel);
  fromKernel();
  draw();
  draw.now();
  // Of another width or size of type, the same text takes other room.
  const offLook = watchLook(el, () => {
    fitted = null;
    fitHeight();
    // In a talk there is one line of tokens: the chosen one stays in sight.
    const chip = strip.children[shared.get("position")];
    if (chip) keepInSight(strip, chip);
  });
  return () => {
    draw.cancel();
    offStore();
    offLook();
    stopped = true;
    shared.tell(textName, undefined);
    voice.close();
    shared.close();
    model.off("change:prompt", fromKernel);
  };
});
