// Where each next token is decided: how far its word has come at every layer, and how many are settled by then.

import { shareTraits } from "./bus.js";
import { KEYS, element, pointIn, setFacts, sizedContext } from "./dom.js";
import { LABELS_HEIGHT } from "./layer_grid.js";
import { openLayerView } from "./layer_view.js";
import { GRID_HEIGHT, layerNumbers, layersTitle } from "./rows.js";
import { curveFrame, levelColours, paintSettle, paintShares, percent, settledBy, sharesText } from "./settle_cells.js";
import { withStore } from "./store.js";

const SIDE_WIDTH = 240;
const HEIGHT = GRID_HEIGHT + LABELS_HEIGHT;

/** The page of the view: title line, strip, the shares beside it, and a line that says what is under the pointer. */
function buildSettlePage(el) {
  const page = {
    canvas: element("canvas"),
    shares: element("canvas", { ...KEYS, class: "lw-settle-shares", tabindex: 0, role: "slider", "aria-label": "Layer, among the shares of predictions that settle", "aria-valuemin": 0 }),
    title: element("span", { class: "lw-title" }),
    detail: element("span", { class: "lw-detail" }),
    legend: element("span", { class: "lw-legend" }),
    empty: element("div", { class: "lw-placeholder" }),
    readout: element("div", { class: "lw-heat-readout" }),
  };
  page.spacer = element("div", { class: "lw-spacer" }, page.canvas);
  page.scroll = element("div", {
    ...KEYS, class: "lw-scroll", tabindex: 0, role: "application", "aria-roledescription": "grid", style: `height:${HEIGHT + 2}px`,
    "aria-label": "Where each next token is decided, layers by tokens: arrow keys move the selected cell",
  }, page.spacer);
  el.classList.add("lw", "lw-settle");
  el.append(
    element("div", { class: "lw-bar" }, page.title, page.detail, page.legend),
    element("div", { class: "lw-settle-body" }, page.scroll, page.shares, page.empty), page.readout);
  return page;
}

/** What is said of a cell: what is predicted there, from where on, and its rank at the layer. */
export function settleText({ layer, column }, { data, held }) {
  const [settled, emerged] = [data.settled.data[column], data.emerged.data[column]];
  const rank = data.ranks.data[held.get(layer) * data.labels.length + column];
  return `after “${data.labels[column]}” (position ${column}): “${data.words[column]}” is settled from layer ${settled} on, `
    + `among the top ${data.k} first at layer ${emerged} · layer ${layer}: rank ${rank}${rank ? "" : ", the most probable"}`;
}

/** What a cell of the table says: the rank there, and whether the prediction is settled. */
export function settleCell({ layer, column }, { data, held }) {
  const rank = data.ranks.data[held.get(layer) * data.labels.length + column];
  return `rank ${rank}${layer >= data.settled.data[column] ? ", settled" : ""}`;
}

/** What is said of a layer: how many predictions settle there, and how many are settled by then. */
export function layerText(layer, data) {
  const [by, total] = [settledBy(data.settled.data, data.layers.length), data.labels.length];
  const here = by[layer] - (layer ? by[layer - 1] : 0);
  return `layer ${layer}: ${here} of ${total} predictions settle here, ${by[layer]} (${percent(by[layer] / total)}) are settled by now`;
}

export default withStore(({ model, el, store }) => {
  const shared = shareTraits(model, ["layers", "layer", "position"]);
  const page = buildSettlePage(el);
  // The layer under the pointer in the shares beside the strip.
  let hoverLayer = null;

  const describe = (scene) => {
    const { data, rows, here, hover, palette } = scene;
    setFacts(page.detail, [sharesText(data.shares, data.labels.length), layersTitle([...rows].reverse()), "last layer on top"]);
    const names = [`top ${data.k}`, "top 1", "top 1 for good"];
    page.legend.replaceChildren(...names.flatMap((name, place) => [
      element("span", { class: "lw-swatch", style: `background:${levelColours(palette, place + 1)[0]}` }), element("span", {}, name)]));
    page.readout.textContent = hover || hoverLayer === null ? settleText(hover ?? here, scene) : layerText(hoverLayer, data);
    page.shares.setAttribute("aria-valuemax", data.layers.length - 1);
    page.shares.setAttribute("aria-valuenow", here.layer);
    page.shares.setAttribute("aria-valuetext", layerText(here.layer, data));
  };
  const view = openLayerView({ model, el, store, shared }, page, {
    column: ({ labels }) => Math.min(shared.get("position"), labels.length - 1),
    scene: ({ labels }) => ({ labels, hoverLayer, inView: new Set(layerNumbers(shared.get("layers"))) }),
    // Before the grid takes the room beside it: without a size, this canvas would leave none.
    layout: (scene) => paintShares(sizedContext(page.shares, SIDE_WIDTH, HEIGHT), SIDE_WIDTH, HEIGHT, scene),
    paint: paintSettle,
    show: describe,
    traits: ["title", "placeholder"],
    begin() {
      page.title.textContent = model.get("title");
      page.empty.textContent = model.get("placeholder");
    },
    clear() {
      setFacts(page.detail, []);
      page.readout.textContent = "";
    },
    came() { hoverLayer = null; },
    said: () => page.readout.textContent,
    table: (scene) => [`${model.get("title")}, rank of the word that is predicted in the end`, (cell) => settleCell(cell, scene)],
    choose: ({ layer, column }) => shared.set({ layer, position: column }),
  });

  const pointLayer = (layer) => {
    // It is one or the other that is spoken of.
    if (layer !== null) view.point(null);
    if (layer === hoverLayer) return;
    hoverLayer = layer;
    view.draw();
  };
  const layerAt = (event) => view.scene() && curveFrame(SIDE_WIDTH, 1, view.scene().data.layers.length).layerAt(pointIn(page.shares, event)[0]);
  page.shares.addEventListener("pointermove", (event) => pointLayer(layerAt(event)));
  page.shares.addEventListener("pointerleave", () => pointLayer(null));
  page.shares.addEventListener("click", (event) => shared.set({ layer: layerAt(event) }));
  page.shares.addEventListener("focus", () => pointLayer(view.scene() && page.shares.matches(":focus-visible") ? view.scene().here.layer : null));
  page.shares.addEventListener("blur", () => pointLayer(null));
  page.shares.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -5, PageUp: 5, Home: -1e6, End: 1e6 }[event.key];
    if (!step || !view.scene()) return;
    view.draw.now();
    event.preventDefault();
    event.stopPropagation();
    const { data, here } = view.scene();
    const layer = Math.min(data.layers.length - 1, Math.max(0, here.layer + step));
    shared.set({ layer });
    pointLayer(layer);
  });
  return view.close;
});
