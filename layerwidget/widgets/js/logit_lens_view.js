// The logit lens: what every layer would predict after every token, and the words of the chosen cell beside it.

import { shareTraits } from "./bus.js";
import { KEYS, choice, element, setFacts } from "./dom.js";
import { LABELS_HEIGHT } from "./layer_grid.js";
import { openLayerView } from "./layer_view.js";
import { LENS_COLOURS, lensLegend } from "./lens_colours.js";
import { paintWords } from "./lens_grid.js";
import { makeTopPanel } from "./lens_panel.js";
import { GRID_HEIGHT, layersTitle } from "./rows.js";
import { withStore } from "./store.js";

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

  /** Said when scrolling has settled, so that what is in sight is computed first. */
  let settling = null;
  const tellSight = () => {
    clearTimeout(settling);
    settling = setTimeout(() => {
      const seen = view.scene() && store.data?.done ? view.grid.visibleColumns() : null;
      if (!seen || String(seen) === String(model.get("in_sight"))) return;
      model.set("in_sight", seen);
      model.save_changes();
    }, SETTLED_MS);
  };
  const describe = (scene) => {
    const { data, rows, held, here, hover, palette } = scene;
    setFacts(page.detail, [data.component === "resid_post" ? "" : data.component, layersTitle([...rows].reverse()), "last layer on top"]);
    page.legend.replaceChildren(...lensLegend(LENS_COLOURS[scene.colour], data, palette, scene.token, scene.recorded));
    const cell = hover ?? here;
    const row = held.get(cell.layer);
    const computed = !data.done || data.done.data[row * data.n_pos + cell.column];
    page.panel.show(computed ? data : null, { layer: cell.layer, position: cell.column, row });
    el.classList.toggle("lw-partial", Boolean(data.done));
    if (data.done) tellSight();
  };
  const view = openLayerView({ model, el, store, shared }, page, {
    column: ({ n_pos }) => Math.min(shared.get("position"), n_pos - 1),
    scene: (data) => ({
      labels: data.prompt_visible, colour: shared.get("colour"), token: shared.get("token"), recorded: Boolean(model.get("recorded")),
    }),
    paint: paintWords,
    show: describe,
    traits: ["empty"],
    begin() { page.empty.textContent = model.get("empty"); },
    clear() {
      setFacts(page.detail, []);
      page.panel.show(null);
    },
    heard(name) {
      if (name === "component") page.components.value = shared.get("component");
      if (name === "colour") page.colours.value = shared.get("colour");
      if (name === "scrolled" && isBelow(model)) [page.scroll.scrollLeft, page.scroll.scrollTop] = shared.get("scrolled");
      return name === "scrolled";
    },
    said() {
      const scene = view.scene();
      return scene ? `layer ${scene.here.layer}, after ${scene.labels[scene.here.column]}, position ${scene.here.column}: ${lensCell(scene.here, scene)}` : "";
    },
    table: (scene) => [`${model.get("title")}, first word and its probability`, (cell) => lensCell(cell, scene)],
    choose: ({ layer, column }) => shared.set({ layer, position: column }),
  });

  page.scroll.addEventListener("scroll", () => {
    // What a grid does by itself when it is drawn, the one beside it does, too, with data of its own.
    if (view.scene() && isBelow(model) && view.grid.isScrolled()) shared.tell("scrolled", [page.scroll.scrollLeft, page.scroll.scrollTop]);
  });
  page.scroll.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !view.scene()) return;
    event.preventDefault();
    event.stopPropagation();
    const { here, data, held } = view.scene();
    if (!data.done) page.panel.pin(data.pieces[data.top_ids.data[(held.get(here.layer) * data.n_pos + here.column) * data.k]].id);
  });
  return () => {
    clearTimeout(settling);
    view.close();
  };
});
