// Where each next token is decided: a bar per token over the layers, and the share of tokens that are settled by then.

import { shareTraits } from "./bus.js";
import { readPalette } from "./colour.js";
import { KEYS, element, onFrame, pointIn, setFacts, sizedContext, watchLook } from "./dom.js";
import { LABELS_HEIGHT, followGrid, makeLayerGrid, movedCell, revealSoon } from "./layer_grid.js";
import { GRID_HEIGHT, layerNumbers, layersTitle } from "./rows.js";
import { curveFrame, levelColours, paintSettle, paintShares, percent, settledBy, sharesText } from "./settle_cells.js";
import { dimStale, isText, withStore } from "./store.js";
import { layerTable, makeTwin } from "./table_twin.js";
import { makeVoice } from "./voice.js";

const SIDE_WIDTH = 240;

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
    ...KEYS, class: "lw-scroll", tabindex: 0, role: "application", "aria-roledescription": "grid", style: `height:${GRID_HEIGHT + LABELS_HEIGHT + 2}px`,
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
  const grid = makeLayerGrid(page, paintSettle);
  let palette = null;
  let scene = null;
  let hover = null;
  let hoverLayer = null;

  const voice = makeVoice(shared, el, { news: () => page.readout.textContent });
  const twin = makeTwin(page.scroll, () => scene && layerTable(
    `${model.get("title")}, rank of the word that is predicted in the end`, scene, grid.visibleColumns(), (cell) => settleCell(cell, scene)));

  const makeScene = (data) => {
    const held = new Map(data.layers.map((layer, row) => [layer, row]));
    const inView = layerNumbers(shared.get("layers")).filter((layer) => held.has(layer));
    return {
      data, held, palette, hover, hoverLayer, labels: data.labels, inView: new Set(inView), rows: [...inView].reverse(),
      here: {
        layer: held.has(shared.get("layer")) ? shared.get("layer") : data.layers.at(-1),
        column: Math.min(shared.get("position"), data.labels.length - 1),
      },
    };
  };
  const describe = ({ data, rows, here }) => {
    setFacts(page.detail, [sharesText(data.shares, data.labels.length), layersTitle([...rows].reverse()), "last layer on top"]);
    const names = [`top ${data.k}`, "top 1", "top 1 for good"];
    page.legend.replaceChildren(...names.flatMap((name, place) => [
      element("span", { class: "lw-swatch", style: `background:${levelColours(palette, place + 1)[0]}` }), element("span", {}, name)]));
    page.readout.textContent = hoverLayer === null ? settleText(hover ?? here, scene) : layerText(hoverLayer, data);
    page.shares.setAttribute("aria-valuemax", data.layers.length - 1);
    page.shares.setAttribute("aria-valuenow", here.layer);
    page.shares.setAttribute("aria-valuetext", layerText(here.layer, data));
  };
  const dim = () => dimStale(el, shared, store.data);
  const draw = onFrame(() => {
    const { data } = store;
    const ready = Boolean(data?.layers.length);
    page.title.textContent = model.get("title");
    page.empty.textContent = model.get("placeholder");
    page.empty.hidden = ready;
    el.classList.toggle("lw-blank", !ready);
    el.classList.toggle("lw-ready", ready);
    dim();
    palette = readPalette(el, palette);
    scene = ready ? makeScene(data) : null;
    if (!scene) {
      setFacts(page.detail, []);
      page.readout.textContent = "";
      return;
    }
    const height = GRID_HEIGHT + LABELS_HEIGHT;
    // Before the grid takes the room beside it: without a size, this canvas would leave none.
    paintShares(sizedContext(page.shares, SIDE_WIDTH, height), SIDE_WIDTH, height, scene);
    grid.draw(scene);
    describe(scene);
    twin.changed();
    el.dataset.revision = data.revision;
    el.dataset.prompt = data.prompt ?? "";
  });

  const choose = ({ layer, column }) => shared.set({ layer, position: column });
  const enter = (cell, layer) => {
    if (cell?.layer === hover?.layer && cell?.column === hover?.column && layer === hoverLayer) return;
    [hover, hoverLayer] = [cell, layer];
    draw();
  };
  const layerAt = (event) => {
    const x = pointIn(page.shares, event)[0];
    return scene ? curveFrame(SIDE_WIDTH, 1, scene.data.layers.length).layerAt(x) : null;
  };
  const target = (key, { here, rows, labels }) => movedCell(key, here, rows, labels.length);
  followGrid(page.scroll, grid, { scene: () => scene, draw, enter: (cell) => enter(cell, null), choose, target, moved: () => voice.say(() => page.readout.textContent) });
  page.shares.addEventListener("pointermove", (event) => enter(null, layerAt(event)));
  page.shares.addEventListener("pointerleave", () => enter(null, null));
  page.shares.addEventListener("click", (event) => shared.set({ layer: layerAt(event) }));
  const pointLayer = () => enter(null, scene && page.shares.matches(":focus-visible") ? scene.here.layer : null);
  page.shares.addEventListener("focus", pointLayer);
  page.shares.addEventListener("blur", () => enter(null, null));
  page.shares.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -5, PageUp: 5, Home: -1e6, End: 1e6 }[event.key];
    if (!step || !scene) return;
    draw.now();
    event.preventDefault();
    event.stopPropagation();
    const layer = Math.min(scene.data.layers.length - 1, Math.max(0, scene.here.layer + step));
    shared.set({ layer });
    enter(null, layer);
  });

  const reveal = () => revealSoon(grid, () => scene);
  shared.listen((name) => {
    // Typing changes nothing in the picture until its answer is there.
    if (isText(name)) {
      dim();
      return;
    }
    if (name === "position") reveal();
    draw();
  });
  const words = ["change:title", "change:placeholder"];
  for (const word of words) model.on(word, draw);
  const off = [store.listen(() => {
    // What was under the pointer may be gone.
    [hover, hoverLayer] = [null, null];
    draw();
    reveal();
  }), watchLook(el, draw)];
  draw();
  return () => {
    off.forEach((stop) => stop());
    for (const word of words) model.off(word, draw);
    draw.cancel();
    twin.close();
    voice.close();
    shared.close();
  };
});
