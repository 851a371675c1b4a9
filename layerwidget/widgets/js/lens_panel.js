// The panel beside the lens grid: the most probable words of one cell, and the pinned words.

import { KEYS, element } from "./dom.js";

/** Colour-blind-safe set for several pinned words (Okabe and Ito 2008); orange is taken by the selection. */
export const PIN_COLOURS = ["#0072b2", "#009e73", "#cc79a7", "#56b4e9", "#b8a000"];

export function makeTopPanel(shared) {
  const head = element("div", { class: "lw-panel-title" });
  const list = element("div", { class: "lw-words" });
  const facts = element("div", { class: "lw-cell-facts" });
  const pins = element("div", { class: "lw-pins" });
  const node = element("div", { class: "lw-top", role: "region", "aria-label": "Most probable words of the cell" }, head, list, facts, pins);
  const rows = [];

  const pin = (id) => {
    const tokens = shared.get("tokens");
    if (tokens.includes(id)) shared.set({ token: id });
    else if (tokens.length < PIN_COLOURS.length) shared.set({ tokens: [...tokens, id], token: id });
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
  const fill = (row, piece, probability) => {
    row.piece = piece;
    row.word.textContent = piece.visible;
    row.word.title = piece.text
      ? `${piece.visible} · token id ${piece.id} · click to append it to the prompt`
      : `${piece.visible} · token id ${piece.id} · part of a character, cannot be typed`;
    row.word.disabled = !piece.text;
    row.bar.style.width = `${(probability * 100).toFixed(2)}%`;
    row.value.textContent = probability.toFixed(3);
    const pinned = shared.get("tokens").indexOf(piece.id);
    row.pinButton.textContent = pinned < 0 ? "⊕" : "●";
    row.pinButton.style.color = pinned < 0 ? "" : PIN_COLOURS[pinned];
    row.pinButton.title = pinned < 0 ? "Pin this word: follow it over all layers" : "Unpin this word";
    row.pinButton.setAttribute("aria-label", `${row.pinButton.title} (${piece.visible})`);
  };
  const fillPins = (data, cell) => {
    pins.replaceChildren(element("div", { class: "lw-pins-title" }, shared.get("tokens").length ? "Pinned words" : "Pin a word with ⊕ to follow it over all layers."));
    shared.get("tokens").forEach((id, index) => {
      const place = data.tokens.indexOf(id);
      const value = place < 0 ? "…" : Math.exp(data.token_log_probs.data[cell * data.tokens.length + place]).toFixed(3);
      const rank = place < 0 ? "" : ` · rank ${data.token_ranks.data[cell * data.tokens.length + place]}`;
      const name = place < 0 ? `#${id}` : data.token_visible[place];
      const chosen = shared.get("token") === id;
      pins.append(element("div", { class: `lw-pinned${chosen ? " lw-here" : ""}` },
        element("span", { class: "lw-swatch", style: `background:${PIN_COLOURS[index]}` }),
        element("button", { ...KEYS, type: "button", class: "lw-word", title: "Follow this word in the grid", onclick: () => shared.set({ token: id }) }, name),
        element("span", { class: "lw-number" }, `${value}${rank}`),
        element("button", { ...KEYS, type: "button", class: "lw-pin", title: "Unpin", "aria-label": `Unpin ${name}`, onclick: () => unpin(id) }, "×")));
    });
  };
  return {
    node,
    pin,
    show(data, cell) {
      node.classList.toggle("lw-blank", !data);
      if (!data) {
        head.textContent = "";
        facts.textContent = "";
        pins.replaceChildren();
        rows.forEach((row) => { row.node.hidden = true; });
        return;
      }
      const index = cell.row * data.n_pos + cell.position;
      head.replaceChildren(element("b", {}, `layer ${cell.layer} · after “${data.prompt_visible[cell.position]}”`), ` (position ${cell.position})`);
      while (rows.length < data.k) {
        rows.push(wordRow());
        list.append(rows.at(-1).node);
      }
      rows.forEach((row, place) => {
        row.node.hidden = place >= data.k;
        if (place < data.k) fill(row, data.pieces[data.top_ids.data[index * data.k + place]], data.top_probs.data[index * data.k + place] / 65535);
      });
      facts.replaceChildren(
        element("span", {}, "entropy"), element("span", { class: "lw-number" }, `${data.entropy_nats.data[index].toFixed(2)} nats`),
        element("span", {}, "KL to final"), element("span", { class: "lw-number" }, `${data.kl_to_final_nats.data[index].toFixed(2)} nats`));
      fillPins(data, index);
    },
  };
}
