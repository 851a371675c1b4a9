// The panel beside the lens grid: the most probable words of one cell, and the pinned words.

import { KEYS, element, setText } from "./dom.js";
import { followedPlace, pinnedText, pinnedWord, wordName } from "./pinned_words.js";

/** One click to how far the lens can be trusted: cells are coloured by KL to final, and by what they were before. */
function makeTrustButton(shared) {
  let before = "faded";
  const node = element("button", {
    ...KEYS, type: "button", class: "lw-button lw-trust",
    title: "Colour every cell by KL(final || layer): how far its prediction is from the model's own",
    onclick: () => shared.set({ colour: shared.get("colour") === "kl" ? before : "kl" }),
  }, "How far to trust the lens here?");
  return {
    node,
    draw() {
      const pressed = shared.get("colour") === "kl";
      if (!pressed) before = shared.get("colour");
      node.setAttribute("aria-pressed", pressed);
    },
  };
}

/** What a pin does: without a kernel, only what was recorded of a word can be shown. */
function pinTitle(data, position, id) {
  const all = data.tokens.includes(id) || (data.followed_ids && followedPlace(data.followed_ids, position, id) >= 0);
  return all ? "Pin this word: follow it over all layers" : "Pin this word: only cells that list it were recorded";
}

/** Which neuron a cell decodes. */
function neuronOf(number) {
  return number < 0 ? "expert not chosen" : String(number);
}

const nats = ({ data }, index) => `${data[index].toFixed(3)} nats`;

/** Names and numbers of a cell, each in a node of its own; those that stay the same are not laid out anew. */
function writePairs(box, pairs) {
  while (box.children.length > 2 * pairs.length) box.lastChild.remove();
  while (box.children.length < 2 * pairs.length) box.append(element("span"), element("span", { class: "lw-number" }));
  pairs.flat().forEach((text, place) => setText(box.children[place], text));
}

export function makeTopPanel(shared, colours, { pinnable = true, recorded = false } = {}) {
  const [cellName, cellPlace] = [element("b"), element("span")];
  const head = element("div", { class: "lw-panel-title lw-facts-line" }, cellName, cellPlace);
  const list = element("div", { class: "lw-words" });
  const facts = element("div", { class: "lw-cell-facts" });
  const trust = makeTrustButton(shared);
  const pinsTitle = element("div", { class: "lw-pins-title" });
  const pins = element("div", { class: "lw-pins" }, pinsTitle);
  const node = element("div", { class: "lw-top", role: "region", "aria-label": "Most probable words of the cell" }, head, list, facts, trust.node, pins);
  const rows = [];
  const pinRows = [];

  const pin = (id) => {
    if (!pinnable) return;
    const tokens = shared.get("tokens");
    if (tokens.includes(id)) shared.set({ token: id });
    else if (tokens.length < colours.length) shared.set({ tokens: [...tokens, id], token: id });
    else shared.set({ tokens: [...tokens.slice(1), id], token: id });
  };
  const unpin = (id) => {
    const tokens = shared.get("tokens").filter((token) => token !== id);
    shared.set({ tokens, token: shared.get("token") === id ? tokens.at(-1) ?? null : shared.get("token") });
  };
  const wordRow = () => {
    const word = element("button", { ...KEYS, type: "button", class: "lw-word" });
    const bar = element("span", { class: "lw-bar-fill" });
    const value = element("span", { class: "lw-number" });
    const pinButton = element("button", { ...KEYS, type: "button", class: "lw-pin" }, "⊕");
    const row = { node: element("div", { class: "lw-word-row" }, word, element("span", { class: "lw-bar-track" }, bar), value, pinButton), word, bar, value, pinButton, piece: null };
    word.addEventListener("click", () => { if (row.piece?.text) shared.signal("append", row.piece.text); });
    pinButton.addEventListener("click", () => { if (row.piece) (shared.get("tokens").includes(row.piece.id) ? unpin : pin)(row.piece.id); });
    return row;
  };
  const fill = (row, piece, probability, follow) => {
    row.piece = piece;
    setText(row.word, piece.visible);
    const editable = shared.get("prompt") !== undefined;
    const use = !piece.text ? " · part of a character, cannot be typed" : editable ? " · click to append it to the prompt" : "";
    row.word.title = `${piece.visible} · token id ${piece.id}${use}`;
    row.word.disabled = !piece.text || !editable;
    row.bar.style.width = `${(probability * 100).toFixed(2)}%`;
    setText(row.value, probability.toFixed(3));
    const pinned = shared.get("tokens").indexOf(piece.id);
    row.pinButton.hidden = !pinnable;
    setText(row.pinButton, pinned < 0 ? "⊕" : "●");
    row.pinButton.style.color = pinned < 0 ? "" : colours[pinned];
    row.pinButton.title = pinned < 0 ? follow : "Unpin this word";
    row.pinButton.setAttribute("aria-label", `${row.pinButton.title} (${piece.visible})`);
  };
  const pinRow = () => {
    const [swatch, value] = [element("span", { class: "lw-swatch" }), element("span", { class: "lw-number" })];
    const word = element("button", { ...KEYS, type: "button", class: "lw-word", title: "Follow this word in the grid" });
    const remove = element("button", { ...KEYS, type: "button", class: "lw-pin", title: "Unpin" }, "×");
    const row = { node: element("div", { class: "lw-pinned" }, swatch, word, value, remove), swatch, word, value, remove, id: 0 };
    word.addEventListener("click", () => shared.set({ token: row.id }));
    remove.addEventListener("click", () => unpin(row.id));
    return row;
  };
  const fillPins = (data, cell) => {
    const tokens = shared.get("tokens");
    setText(pinsTitle, tokens.length ? "Pinned words" : !pinnable ? "" : "Pin a word with ⊕ to follow it over all layers.");
    while (pinRows.length < tokens.length) {
      pinRows.push(pinRow());
      pins.append(pinRows.at(-1).node);
    }
    while (pinRows.length > tokens.length) {
      const { node: last } = pinRows.pop();
      const focused = last.contains(document.activeElement);
      last.remove();
      // The page must not take the keyboard over when a focused row goes.
      if (focused) (pinRows.at(-1)?.remove ?? rows[0].pinButton).focus();
    }
    pinRows.forEach((row, index) => {
      row.id = tokens[index];
      row.remove.hidden = !pinnable;
      row.swatch.style.background = colours[index];
      setText(row.word, wordName(data, row.id));
      row.remove.setAttribute("aria-label", `Unpin ${row.word.textContent}`);
      const word = pinnedWord(data, cell, row.id);
      row.value.title = word && word.rank === null ? "Its rank was not recorded here: the cell lists it, and that is known" : "";
      setText(row.value, pinnedText(word, recorded ? "not recorded here" : data.prompt === null ? "not asked for" : "…"));
      row.node.classList.toggle("lw-here", shared.get("token") === row.id);
    });
  };
  return {
    node,
    pin,
    show(data, cell) {
      node.classList.toggle("lw-blank", !data);
      if (!data) {
        [cellName, cellPlace].forEach((part) => setText(part, ""));
        facts.textContent = "";
        rows.forEach((row) => { row.node.hidden = true; });
        return;
      }
      const index = cell.row * data.n_pos + cell.position;
      setText(cellName, `layer ${cell.layer} · after “${data.prompt_visible[cell.position]}”`);
      setText(cellPlace, ` (position ${cell.position})`);
      while (rows.length < data.k) {
        rows.push(wordRow());
        list.append(rows.at(-1).node);
      }
      rows.forEach((row, place) => {
        row.node.hidden = place >= data.k;
        if (place >= data.k) return;
        const piece = data.pieces[data.top_ids.data[index * data.k + place]];
        fill(row, piece, data.top_probs.data[index * data.k + place] / 65535, recorded ? pinTitle(data, cell.position, piece.id) : "Pin this word: follow it over all layers");
      });
      writePairs(facts, [
        ["entropy", nats(data.entropy_nats, index)],
        ...(data.neurons ? [["neuron", neuronOf(data.neurons.data[index])]] : []),
        ["KL to final", nats(data.kl_to_final_nats, index)],
        ...(data.jsd_nats ? [["Jensen-Shannon", nats(data.jsd_nats, index)]] : []),
      ]);
      trust.draw();
      fillPins(data, index);
    },
  };
}
