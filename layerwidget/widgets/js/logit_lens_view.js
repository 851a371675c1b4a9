// The logit lens: a grid of words, and the panel of one cell beside it or below.

import { shareTraits } from "./bus.js";
import { readPalette } from "./colour.js";
import { KEYS, choice, element, onFrame, setFacts, watchLook } from "./dom.js";
import { LABELS_HEIGHT, makeLayerGrid, movedCell, revealSoon } from "./layer_grid.js";
import { LENS_COLOURS, lensLegend } from "./lens_colours.js";
import { paintWords } from "./lens_grid.js";
import { makeTopPanel } from "./lens_panel.js";
import { GRID_HEIGHT, layerNumbers, layersTitle } from "./rows.js";
import { dimStale, isText, withStore } from "./store.js";
import { layerTable, makeTwin } from "./table_twin.js";
import { makeVoice } from "./voice.js";

/** Scrolling has settled when nothing has moved for so long. */
const SETTLED_MS = 150;

/** What the chooser says of each component: in the order in which a layer makes them. */
const COMPONENTS = {
  resid_pre: "stream before the layer", attn_out: "what attention adds", cross_attn_out: "what cross-attention adds",
  resid_mid: "stream before the FFN", mlp_out: "what the FFN adds", resid_post: "stream after the layer",
  head_out: "what the chosen head adds", neuron_out: "what the strongest neuron adds",
};

/** Whether the words of the cell stand below the grid. */
const isBelow = (model) => model.get("panel") === "below";

/** What is said of a cell in short: the first word and its probability, or that there is none yet. */
export function lensCell({ layer, column }, { data, held }) {
  const cell = held.get(layer) * data.n_pos + column;
  if (data.done && !data.done.data[cell]) return "not computed";
  return `${data.pieces[data.top_ids.data[cell * data.k]].visible} ${(data.top_probs.data[cell * data.k] / 65535).toFixed(3)}`;
}

/** The page of the view: title line, grid and panel. */
function buildPage(el, model, shared) {
  const page = {
    canvas: element("canvas"),
    detail: element("span", { class: "lw-detail" }),
    legend: element("span", { class: "lw-legend" }),
    empty: element("div", { class: "lw-placeholder" }, model.get("empty")),
    colours: choice("Colour of the cells", Object.entries(LENS_COLOURS).map(([key, mode]) => [key, mode.name]),
      shared.get("colour"), (colour) => shared.set({ colour })),
    components: choice("What is decoded", model.get("components").map((name) => [name, COMPONENTS[name] ?? name]),
      shared.get("component"), (component) => shared.set({ component })),
    panel: makeTopPanel(shared, model.get("pin_colours"), { pinnable: model.get("pinnable"), recorded: model.get("recorded") }),
  };
  page.spacer = element("div", { class: "lw-spacer" }, page.canvas);
  page.components.hidden = model.get("components").length < 2;
  page.scroll = element("div", {
    ...KEYS, class: "lw-scroll", tabindex: 0, role: "application", "aria-roledescription": "grid", style: `height:${GRID_HEIGHT + LABELS_HEIGHT + 2}px`,
    "aria-label": `Logit lens grid: arrow keys move the selected cell${model.get("pinnable") === false ? "" : ", Enter pins its first word"}`,
  }, page.spacer);
  el.classList.add("lw", "lw-lens");
  el.classList.toggle("lw-lens-below", isBelow(model));
  el.append(
    element("div", { class: "lw-bar" }, element("span", { class: "lw-title" }, model.get("title")), page.detail, page.legend, page.components, page.colours),
    element("div", { class: "lw-lens-body" }, element("div", { class: "lw-lens-grid" }, page.scroll, page.empty), page.panel.node));
  return page;
}

export default withStore(({ model, el, store }) => {
  const shared = shareTraits(model, ["layers", "layer", "position", "token", "tokens"], ["colour", "component"]);
  const page = buildPage(el, model, shared);
  const grid = makeLayerGrid(page, paintWords);
  let palette = null;
  let scene = null;
  let hover = null;

  const cellWords = () => (scene ? `layer ${scene.here.layer}, after ${scene.labels[scene.here.column]}, position ${scene.here.column}: ${lensCell(scene.here, scene)}` : "");
  const voice = makeVoice(shared, el, { news: cellWords });
  const twin = makeTwin(page.scroll, () => scene && layerTable(
    `${model.get("title")}, first word and its probability`, scene, grid.visibleColumns(), (cell) => lensCell(cell, scene)));
  const sayCell = () => voice.say(cellWords);

  /** Said when scrolling has settled, so that what is in sight is computed first. */
  let settling = null;
  const tellSight = () => {
    clearTimeout(settling);
    settling = setTimeout(() => {
      const seen = scene && store.data?.done ? grid.visibleColumns() : null;
      if (!seen || String(seen) === String(model.get("in_sight"))) return;
      model.set("in_sight", seen);
      model.save_changes();
    }, SETTLED_MS);
  };
  const dim = () => dimStale(el, shared, store.data);
  const draw = onFrame(() => {
    const { data } = store;
    const ready = Boolean(data?.layers.length);
    page.empty.hidden = ready;
    el.classList.toggle("lw-blank", !ready);
    el.classList.toggle("lw-ready", ready);
    dim();
    palette = readPalette(el, palette);
    scene = ready ? makeScene(data) : null;
    if (!scene) {
      setFacts(page.detail, []);
      page.panel.show(null);
      return;
    }
    grid.draw(scene);
    twin.changed();
    if (data.done) tellSight();
    setFacts(page.detail, [data.component === "resid_post" ? "" : data.component, layersTitle([...scene.rows].reverse()), "last layer on top"]);
    page.legend.replaceChildren(...lensLegend(LENS_COLOURS[scene.colour], data, palette, scene.token, scene.recorded));
    const cell = hover ?? scene.here;
    const row = scene.held.get(cell.layer);
    const computed = !data.done || data.done.data[row * data.n_pos + cell.column];
    page.panel.show(computed ? data : null, { layer: cell.layer, position: cell.column, row });
    el.classList.toggle("lw-partial", Boolean(data.done));
    el.dataset.revision = data.revision;
    // What is not complete is not the answer to the prompt yet.
    el.dataset.prompt = data.done ? "" : data.prompt ?? "";
  });
  const makeScene = (data) => {
    const held = new Map(data.layers.map((layer, row) => [layer, row]));
    return {
      data, held, palette, hover, labels: data.prompt_visible, colour: shared.get("colour"), token: shared.get("token"), recorded: Boolean(model.get("recorded")),
      rows: layerNumbers(shared.get("layers")).filter((layer) => held.has(layer)).reverse(),
      here: {
        layer: held.has(shared.get("layer")) ? shared.get("layer") : data.layers.at(-1),
        column: Math.min(shared.get("position"), data.n_pos - 1),
      },
    };
  };

  const choose = ({ layer, column }) => shared.set({ layer, position: column });
  const enter = (cell) => {
    if (cell?.layer === hover?.layer && cell?.column === hover?.column) return;
    hover = cell;
    draw();
  };
  page.scroll.addEventListener("pointermove", (event) => enter(grid.at(event)));
  page.scroll.addEventListener("pointerleave", () => enter(null));
  page.scroll.addEventListener("scroll", () => {
    draw();
    if (scene && isBelow(model)) shared.tell("scrolled", [page.scroll.scrollLeft, page.scroll.scrollTop]);
  });
  page.scroll.addEventListener("click", (event) => {
    const cell = scene && grid.at(event);
    if (cell) choose(cell);
  });
  page.scroll.addEventListener("keydown", (event) => {
    // A key that comes before the next frame starts from where the last one led.
    draw.now();
    if (!scene) return;
    const { here, rows, data, held } = scene;
    const cell = movedCell(event.key, here, rows, data.n_pos);
    if (event.key !== "Enter" && !cell) return;
    event.preventDefault();
    event.stopPropagation();
    if (event.key === "Enter" && data.done) return;
    if (event.key === "Enter") {
      page.panel.pin(data.pieces[data.top_ids.data[(held.get(here.layer) * data.n_pos + here.column) * data.k]].id);
      return;
    }
    choose(cell);
    grid.reveal(cell);
    sayCell();
  });

  const reveal = () => revealSoon(grid, () => scene);
  shared.listen((name) => {
    // Typing changes nothing in the picture until its answer is there.
    if (isText(name)) {
      dim();
      return;
    }
    if (name === "scrolled") {
      if (isBelow(model)) [page.scroll.scrollLeft, page.scroll.scrollTop] = shared.get("scrolled");
      return;
    }
    // At the end of a prompt that is being typed, the place of the next token changes nothing until its answer is there.
    if (name === "position" && scene && makeScene(scene.data).here.column === scene.here.column) return;
    if (name === "component") page.components.value = shared.get("component");
    if (name === "colour") page.colours.value = shared.get("colour");
    if (name === "position") reveal();
    draw();
  });
  let revealed = null;
  const off = [store.listen(() => {
    hover = null;
    draw();
    // The rest of an answer must not take a reader back who has scrolled away meanwhile.
    if (!scene || grid.sees(scene.here) || store.data?.prompt !== revealed) reveal();
    revealed = store.data?.prompt;
    // Of its grid: in a talk, the words beside it can leave it less room while the whole is as wide as before.
  }), watchLook(page.scroll.parentElement, () => {
    // A place that was in sight stays there when there is less room.
    if (scene && grid.sees(scene.here)) reveal();
    draw();
  })];
  const explain = () => { page.empty.textContent = model.get("empty"); };
  model.on("change:empty", explain);
  draw();
  return () => {
    model.off("change:empty", explain);
    off.forEach((stop) => stop());
    clearTimeout(settling);
    draw.cancel();
    twin.close();
    voice.close();
    shared.close();
  };
});
