// The strongest neurons of a layer at one position, a row for each, and the one that is followed over the prompt.

import { shareTraits } from "./bus.js";
import { readPalette } from "./colour.js";
import { KEYS, element, keepInSight, onFrame, setFacts, watchLook } from "./dom.js";
import { exactValue } from "./heat_cells.js";
import { cellColours, expertWords, neuronTitle } from "./neuron_words.js";
import { GRID_HEIGHT } from "./rows.js";
import { dimStale, isText, withStore } from "./store.js";
import { makeVoice } from "./voice.js";

function buildPage(el) {
  const page = {
    detail: element("span", { class: "lw-detail" }),
    empty: element("div", { class: "lw-placeholder" }),
    head: element("div", { class: "lw-neuron lw-neuron-head" }),
    rows: element("div", { class: "lw-neuron-rows", role: "listbox", "aria-label": "Strongest neurons: Enter follows one over the prompt" }),
    note: element("div", { class: "lw-neuron-note" }),
    followed: element("div", { class: "lw-panel-title" }),
    strip: element("div", { ...KEYS, class: "lw-neuron-strip", role: "listbox", tabindex: 0, "aria-label": "The followed neuron at every token: arrow keys choose a position" }),
    readout: element("div", { class: "lw-heat-readout" }),
  };
  el.classList.add("lw", "lw-neurons");
  el.append(
    element("div", { class: "lw-bar" }, element("span", { class: "lw-title" }, "FFN neurons"), page.detail),
    element("div", { class: "lw-neuron-body", style: `height:${GRID_HEIGHT}px` }, page.head, page.rows, page.empty),
    page.note, page.followed, page.strip, page.readout);
  return page;
}

/** One row; it is made once and filled with another neuron after every edit. */
function makeRow(follow) {
  const cells = Object.fromEntries(["name", "value", "activation", "gate", "up", "promotes", "demotes"].map((name) => [name, element("span", { class: `lw-neuron-${name}` })]));
  const bar = element("span", { class: "lw-bar-fill" });
  const node = element("button", { ...KEYS, class: "lw-neuron", type: "button", role: "option" },
    cells.name, element("span", { class: "lw-bar-track" }, bar), cells.value, cells.activation, cells.gate, cells.up, cells.promotes, cells.demotes);
  const row = { node, bar, cells, neuron: null };
  node.addEventListener("click", () => follow(row.neuron));
  return row;
}

function fillRow(row, data, place) {
  const number = (array) => (array ? exactValue(array.data[place]) : "");
  row.neuron = data.neurons[place];
  const texts = {
    name: neuronTitle(data, row.neuron), value: number(data.contributions), activation: number(data.activations), gate: number(data.gates), up: number(data.ups),
    promotes: data.promotes?.[place].join("  ") ?? "", demotes: data.demotes?.[place].join("  ") ?? "",
  };
  for (const [name, text] of Object.entries(texts)) row.cells[name].textContent = text;
  row.bar.style.width = `${((100 * data.contributions.data[place]) / Math.max(1e-30, data.contributions.data[0])).toFixed(2)}%`;
  const here = data.followed === row.neuron;
  row.node.classList.toggle("lw-here", here);
  row.node.setAttribute("aria-selected", String(here));
  const alone = data.lens ? `\nadded here alone, the logit lens reads ${data.lens[place].join("  ")}` : "";
  row.node.title = `promotes ${texts.promotes}\ndemotes ${texts.demotes}${alone}`;
}

export default withStore(({ model, el, store }) => {
  const shared = shareTraits(model, ["layer", "position", "neuron"]);
  const page = buildPage(el);
  const rows = [];
  let palette = null;
  let pointed = null;
  const follow = (neuron) => model.get("answered") && shared.set({ neuron: neuron === shared.get("neuron") ? null : neuron });
  const voice = makeVoice(shared, el, { news: () => page.readout.textContent });
  const dim = () => dimStale(el, shared, store.data);

  const fillHead = (data) => {
    const gated = Boolean(data.gates);
    page.head.replaceChildren(...[
      ["name", data.n_experts ? "expert · neuron" : "neuron"], ["bar", "contribution |m| ‖v‖"], ["value", ""], ["activation", "activation m"],
      ["gate", gated ? "gate" : ""], ["up", gated ? "up" : ""], ["promotes", "its value promotes"], ["demotes", "and demotes"],
    ].map(([name, text]) => element("span", { class: `lw-neuron-${name}` }, text)));
    el.classList.toggle("lw-plain-ffn", !gated);
  };
  const fillStrip = (data) => {
    const strip = page.strip;
    const values = data.by_position?.data;
    const colours = values ? cellColours(values, palette) : null;
    while (strip.children.length > data.prompt_visible.length) strip.lastChild.remove();
    while (strip.children.length < data.prompt_visible.length) {
      const place = strip.children.length;
      strip.append(element("button", { ...KEYS, class: "lw-chip lw-neuron-chip", type: "button", role: "option", tabindex: -1,
        onclick: () => shared.set({ position: place }), onpointerenter: () => { pointed = place; say(); }, onpointerleave: () => { pointed = null; say(); } },
        element("span", { class: "lw-chip-text" }), element("span", { class: "lw-chip-index" })));
    }
    data.prompt_visible.forEach((word, place) => {
      const chip = strip.children[place];
      const [text, below] = chip.children;
      text.textContent = word;
      below.textContent = expertWords(data, place);
      chip.style.background = colours?.[place].fill ?? "";
      chip.style.color = colours?.[place].ink ?? "";
      below.style.color = colours?.[place].ink ?? "";
      chip.classList.toggle("lw-here", place === data.position);
      chip.setAttribute("aria-selected", String(place === data.position));
    });
    const here = strip.children[data.position];
    if (here) keepInSight(strip, here);
  };
  const say = () => {
    const { data } = store;
    if (!data?.layers.length) return;
    const place = Math.min(pointed ?? data.position, data.prompt_visible.length - 1);
    const value = data.by_position?.data[place];
    const words = [`“${data.prompt_visible[place]}” (position ${place})`];
    if (value !== undefined) words.push(Number.isNaN(value) ? "its expert was not chosen here" : `activation ${exactValue(value)}`);
    if (data.experts) words.push(`experts ${expertWords(data, place, true)}`);
    page.readout.textContent = words.join(" · ");
  };
  const draw = onFrame(() => {
    const { data } = store;
    const ready = Boolean(data?.layers.length);
    page.empty.hidden = ready;
    page.empty.textContent = data?.note || "The strongest neurons of the chosen layer appear here.";
    el.classList.toggle("lw-ready", ready);
    el.classList.toggle("lw-blank", !ready);
    for (const part of [page.head, page.rows, page.strip]) part.style.visibility = ready ? "" : "hidden";
    dim();
    if (!ready) {
      setFacts(page.detail, []);
      page.note.textContent = page.followed.textContent = page.readout.textContent = "";
      return;
    }
    palette = readPalette(el, palette);
    const shown = data.neurons.length;
    const word = data.prompt_visible[data.position];
    const carried = `the strongest ${shown} carry ${(100 * data.share).toFixed(0)} % of all contributions, ${data.n_half} carry half`;
    setFacts(page.detail, [`layer ${data.layers[0]}`, `at “${word}” (position ${data.position})`, carried]);
    page.note.textContent = [`Sum over all neurons against the FFN's own output: error ${data.error ? data.error.toExponential(1) : "0"}.`, data.note].filter(Boolean).join(" ");
    fillHead(data);
    while (rows.length < shown) { rows.push(makeRow(follow)); page.rows.append(rows.at(-1).node); }
    rows.forEach((row, place) => {
      row.node.hidden = place >= shown;
      if (place < shown) fillRow(row, data, place);
    });
    page.followed.replaceChildren(...(data.followed === null
      ? [[data.experts ? "Experts of every token." : "", model.get("answered") ? "Click a neuron to follow it over the prompt." : ""].filter(Boolean).join(" ")]
      : [element("b", {}, `neuron ${neuronTitle(data, data.followed)} of layer ${data.layers[0]}`), " over the prompt: activation, blue above zero, yellow-green below"]));
    fillStrip(data);
    say();
    el.dataset.revision = data.revision;
    el.dataset.prompt = data.prompt ?? "";
  });
  page.strip.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, Home: -1e6, End: 1e6 }[event.key];
    if (!step || !store.data?.layers.length) return;
    event.preventDefault();
    event.stopPropagation();
    shared.set({ position: Math.min(store.data.prompt_visible.length - 1, Math.max(0, shared.get("position") + step)) });
    voice.say(() => page.readout.textContent);
  });
  page.rows.addEventListener("keydown", (event) => {
    const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    const at = rows.findIndex((row) => row.node === document.activeElement);
    rows[Math.min(rows.length - 1, Math.max(0, at + step))]?.node.focus();
  });
  shared.listen((name) => { if (isText(name)) dim(); });
  const off = [store.listen(draw), watchLook(el, draw)];
  draw();
  return () => {
    off.forEach((stop) => stop());
    draw.cancel();
    voice.close();
    shared.close();
  };
});
