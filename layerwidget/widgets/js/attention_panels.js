// The page of the attention view: the gallery, the chosen matrix and its lines, with their titles and controls.

import { whyNoLines } from "./arc_lines.js";
import { KEYS, choice, element } from "./dom.js";
import { HEADS_HEIGHT } from "./head_gallery.js";
import { heatColours, shortValue } from "./heat_cells.js";

export const PANEL_HEIGHT = 336;

/** Three canvases, what is said beside them, and the controls, in `el`. */
export function attentionPanels(el, shared) {
  const box = (name, kind, label, height = PANEL_HEIGHT) => element("div", { ...KEYS, class: name, tabindex: 0, role: "application", "aria-roledescription": kind, style: `height:${height}px`, "aria-label": label }, element("canvas"));
  const page = {
    gallery: box("lw-gallery", "grid", "All heads of the layers in view: arrow keys choose a head", PANEL_HEIGHT + HEADS_HEIGHT),
    matrix: box("lw-matrix", "matrix", "Attention of the chosen head: up and down choose the query, left and right point at a key"),
    detail: element("span", { class: "lw-detail" }),
    legend: element("span", { class: "lw-legend", hidden: true }),
    head: element("div", { class: "lw-panel-title lw-facts-line" }),
    arcs: box("lw-arcs", "lines", "Attention of the chosen query as lines: up and down choose the query, left and right point at a key, Enter goes to it"),
    arcTitle: element("div", { class: "lw-panel-title lw-facts-line" }),
    noArcs: element("div", { class: "lw-no-arcs" }),
    readout: element("div", { class: "lw-facts" }),
    empty: element("div", { class: "lw-placeholder" }),
    hideFirst: element("input", { ...KEYS, type: "checkbox" }),
    showHeads: choice("What the matrix shows", [["head", "one head"], ["mean", "mean of all in view"], ["max", "max of all in view"]],
      shared.get("show_heads"), (value) => shared.set({ show_heads: value })),
    quantities: choice("What the colours are", [], "", (value) => shared.set({ quantity: value })),
  };
  page.quantities.classList.add("lw-stays");
  page.hideFirst.addEventListener("change", () => shared.set({ hide_first: page.hideFirst.checked }));
  page.arcSide = element("div", { class: "lw-arc-side", hidden: true }, page.arcTitle, page.arcs, page.noArcs);
  el.classList.add("lw", "lw-attention");
  el.append(
    element("div", { class: "lw-bar" }, element("span", { class: "lw-title" }, "Attention heads"), page.detail, page.legend,
      element("label", { class: "lw-check", title: "Leave out the first token, on which most heads rest, and scale the rest of each row to sum to 1" }, page.hideFirst, "hide first token"), page.showHeads),
    element("div", { class: "lw-attention-body" }, element("div", { class: "lw-gallery-side" }, page.gallery, page.empty),
      element("div", { class: "lw-matrix-side" }, page.head, page.matrix, page.readout), page.arcSide));
  return page;
}

/** The controls as the traits have them; of quantities a drop-down, where there is something to choose from. */
export function showControls({ quantities: select, legend, showHeads, hideFirst }, shared) {
  const quantities = shared.get("quantities") ?? [];
  if (select.dataset.offered !== quantities.join()) {
    select.replaceChildren(...quantities.map((quantity) => element("option", { value: quantity }, quantity)));
    select.dataset.offered = quantities.join();
  }
  if (quantities.length < 2) select.remove();
  else if (!select.isConnected) legend.after(select);
  select.value = shared.get("quantity");
  showHeads.value = shared.get("show_heads");
  hideFirst.checked = shared.get("hide_first");
  hideFirst.parentElement.hidden = shared.get("can_hide") === false;
}

/** What the colours of lengths mean; shares of 1 need no legend. */
export function showLegend({ legend }, { data: { unit, limit }, palette }) {
  legend.hidden = !unit;
  if (!unit) return;
  const ramp = `linear-gradient(to right, ${heatColours({ kind: "one-sided" }, palette).join(",")})`;
  legend.title = "Length of what a head reads, in units of the raw attention output; square-root scale, the same for all small pictures";
  legend.replaceChildren(element("span", {}, "0"), element("span", { class: "lw-ramp", style: `background:${ramp}` }), element("span", {}, `${shortValue(limit, 3)} ${unit}`));
}

/** The lines of a query beside the matrix, where they are asked for and can be told apart; `arcs` draws them. */
export function showArcs(page, el, arcs, { data, matrix }, asked) {
  page.arcSide.hidden = !asked;
  el.classList.toggle("lw-with-arcs", asked);
  if (!asked) return;
  const { words, keyWords, hover, position, scale } = matrix;
  page.noArcs.textContent = whyNoLines(words.length, keyWords.length);
  page.noArcs.hidden = !page.noArcs.textContent;
  page.arcs.hidden = !page.noArcs.hidden;
  const query = hover && scale === 1 ? hover.query : position;
  const facts = page.arcs.hidden ? [] : [` · from “${words[query]}”`, ` · width by ${data.unit ? "length" : "weight"}`];
  page.arcTitle.replaceChildren(element("b", {}, "Lines"), ...facts.map((fact) => element("span", {}, fact)));
  if (page.arcs.hidden) arcs.forget();
  else arcs.draw(matrix, page.arcs);
}
