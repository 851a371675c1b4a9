// The stack of the layer map: one compact row for each layer, last layer on top, the stream as a line through all.

import { KEYS, element, zoomOf } from "./dom.js";
import {
  bandEnds, besideSteps, branchColumns, chipFact, chipWord, columnShares, layerTitle, longAmount, mainOf, shortAmount, stepGroups,
} from "./map_words.js";

const ROW_LOW = 14;
const ROW_HIGH = 60;
const CELLS_WIDTH = 220;
const LETTER_WIDTH = 5.8;
const SVG = "http://www.w3.org/2000/svg";

/** Height in px of each of `count` rows in a stack that has `room`. */
export function stackRowHeight(count, room) {
  return Math.max(ROW_LOW, Math.min(ROW_HIGH, Math.floor(room / Math.max(1, count))));
}

/** Height in px of everything but the rows. */
const endsHeight = (map, title) => (title ? 20 : 0) + (map.before.length + map.after.length) * 20 + 36;

/** Height in px in which all rows of a stack can be seen, if they are as low as they can be. */
export function stackHeight(map, title) {
  return endsHeight(map, title) + map.layers.length * ROW_LOW;
}

function shape(tag, attributes) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

/** What happens to the stream in one layer, on its line: a ring for each addition, a bar for each norm, first lowest. */
function beads(steps, height) {
  const picture = shape("svg", { class: "lw-map-beads", width: 22, height, viewBox: `0 0 22 ${height}`, "aria-hidden": "true" });
  const places = stepGroups(steps);
  // So small that the line between two of them can be seen.
  const radius = Math.min(4, (height / places.length) * 0.3);
  places.forEach(([first], place) => {
    const y = height - ((place + 0.5) * height) / places.length;
    if (first.kind === "branch") picture.append(shape("circle", { cx: 11, cy: y, r: radius }));
    else picture.append(shape("rect", { x: 6, y: y - 1.5, width: 10, height: 3, rx: 1 }));
  });
  return picture;
}

/** How many letters of a fact a chip has room for: in `width` px beside its ticks, less what a line break costs. */
function factLetters(step, width, lines) {
  return Math.floor((width - 6 - 6 * step.elements.length) / LETTER_WIDTH) * lines - 4 * Math.max(0, lines - 1);
}

/** A branch in a row: a tick for each norm on it, and the sublayer by its name. */
function chip(step, beside, letters) {
  const main = mainOf(step);
  const place = step.elements.indexOf(main);
  const tick = (one, index) => (one.kind === "norm" && one !== main ? [index < place ? "before" : "after"] : []);
  const ticks = step.elements.flatMap(tick);
  const text = element("span", { class: "lw-map-chip-text" }, chipWord(step));
  const fact = chipFact(step, letters);
  const facts = fact ? element("span", { class: "lw-map-chip-facts" }, fact) : null;
  const body = element("span", { class: `lw-map-chip lw-map-kind-${main.kind}` }, text, facts);
  const marks = (where) => ticks.filter((one) => one === where).map(() => element("span", { class: "lw-map-tick" }));
  const sign = beside ? [element("span", { class: "lw-map-beside" }, "∥")] : [];
  return [...sign, ...marks("before"), body, ...marks("after")];
}

function cells(layer, shares, factLines) {
  const lost = layer.steps.length ? null : element("span", { class: "lw-map-lost" }, "could not be taken apart");
  const columns = lost ? [] : branchColumns(layer);
  const last = columns.findLastIndex((branches) => branches.length);
  const beside = besideSteps(layer);
  const total = shares.reduce((sum, share) => sum + share, 0);
  const letters = (step, column) => factLetters(step, ((CELLS_WIDTH * shares[column]) / total) / columns[column].length, factLines);
  // A line leads from the stream to the last branch; a column that is empty in this layer is passed by.
  const nodes = columns.map((branches, column) => shares[column] && element(
    "span", { class: column <= last ? "lw-map-cell lw-map-reached" : "lw-map-cell", style: `flex-grow:${shares[column]}` },
    ...branches.flatMap((step) => chip(step, beside.has(step), letters(step, column))),
  ));
  return element("span", { class: "lw-map-cells" }, lost, ...nodes.filter(Boolean));
}

function row(layer, { id, shares, factLines, height, largest, devices }) {
  const share = Math.max(2, Math.round((layer.n_params / Math.max(1, largest)) * 100));
  const place = devices ? ` · ${layer.device}` : "";
  return element(
    "div",
    {
      id: `${id}-${layer.layer}`, class: "lw-map-row", role: "option", "data-layer": layer.layer, "data-lines": factLines, style: `height:${height}px`,
      title: `layer ${layer.layer} · ${layer.module}\n${layerTitle(layer)}\n${longAmount(layer.n_params)} parameters${place}`,
      "aria-label": `layer ${layer.layer}: ${layerTitle(layer)}, ${longAmount(layer.n_params)} parameters`,
    },
    element("span", { class: "lw-map-number" }, layer.layer),
    element("span", { class: "lw-map-trunk" }, beads(layer.steps, height)),
    cells(layer, shares, factLines),
    devices ? element("span", { class: "lw-map-device" }, layer.device) : null,
    element("span", { class: "lw-map-size" }, element("span", { style: `width:${share}%` })),
    element("span", { class: "lw-map-amount" }, shortAmount(layer.n_params)),
  );
}

/** What the stream comes from, or goes to: a row that opens its parameters. */
function end(one, open) {
  return element(
    "button",
    { ...KEYS, type: "button", class: "lw-map-end", title: one.module, onclick: open },
    element("span", { class: "lw-map-trunk" }),
    element("span", { class: `lw-map-end-name lw-map-kind-${one.kind}` }, one.title),
    element("span", { class: "lw-map-end-facts" }, one.details.join(" · ")),
    element("span", { class: "lw-map-amount" }, one.n_params ? shortAmount(one.n_params) : ""),
  );
}

function outside(text) {
  return element("div", { class: "lw-map-end lw-map-outside" }, element("span", { class: "lw-map-trunk" }), element("span", {}, text));
}

function bandLabels(count, height) {
  return bandEnds(count).map(([name, first, last]) => {
    const size = (last - first + 1) * height;
    // A band of one low row has no room for its name; its line is still there.
    const label = element("span", { class: "lw-map-band", "aria-hidden": "true" }, size >= 36 ? element("span", {}, name) : null);
    label.style.top = `${(count - 1 - last) * height}px`;
    label.style.height = `${size}px`;
    return label;
  });
}

/**
 * One stack of `height` px with its ends.
 *
 * `title` stands above it, `goal` and `source` are what is beyond its ends, `open` is called with the end that is clicked.
 */
export function makeStack(map, { title, goal, source, height, open }) {
  // Every widget has a copy of this module, so that a counter here would count from one in each.
  const id = `lw-map-${Math.random().toString(36).slice(2)}`;
  const count = map.layers.length;
  const room = height - endsHeight(map, title);
  const rowHeight = stackRowHeight(count, room);
  // Of a stack that is higher than its place, whole rows are seen, and how many are not is said above and below.
  const seen = count * rowHeight <= room ? count : Math.floor((room - 32) / rowHeight);
  // Two stacks side by side have no room for facts.
  const factLines = title ? 0 : Number(rowHeight >= 32) + Number(rowHeight >= 46);
  const shared = {
    id, height: rowHeight, factLines, shares: columnShares(map.layers, factLines), largest: Math.max(...map.layers.map((layer) => layer.n_params)),
    devices: new Set(map.layers.map((layer) => layer.device)).size > 1,
  };
  const rows = map.layers.map((layer) => row(layer, shared));
  const inner = element(
    "div", { class: "lw-map-rows", style: `height:${count * rowHeight}px` }, ...[...rows].reverse(), ...bandLabels(count, rowHeight),
  );
  const list = element("div", {
    ...KEYS, class: "lw-map-layers", role: "listbox", tabindex: 0, "aria-multiselectable": "true", "aria-label": title || "layers",
    style: `height:${seen * rowHeight}px`,
  }, inner);
  const [above, below] = [element("div", { class: "lw-map-line" }), element("div", { class: "lw-map-line" })];
  const tellHidden = () => {
    const up = Math.round(list.scrollTop / rowHeight);
    above.textContent = seen < count && up ? `${up} more above` : "";
    below.textContent = seen < count && up < count - seen ? `${count - seen - up} more below` : "";
    // The scroll bar stands beside the rows, not in them.
    list.style.marginRight = `${list.clientWidth - list.offsetWidth}px`;
  };
  list.addEventListener("scroll", tellHidden);
  const endsOf = (where) => element("div", { class: "lw-map-ends" }, ...[...map[where]].reverse().map((one) => end(one, () => open(where))));
  const ends = { after: endsOf("after"), before: endsOf("before") };
  const root = element(
    "div", { class: "lw-map-stack", style: `height:${height}px` },
    title ? element("div", { class: "lw-map-stack-title" }, title) : null,
    outside(goal), ends.after, above, list, below, ends.before, outside(source),
  );
  return {
    root,
    list,
    /** What is drawn of a layer, or of an end. */
    place: ({ layer, end: where }) => (where ? ends[where] : rows[layer]),
    /** Bright rows, the row that is "here", and the row or the end that is open. */
    mark({ layers, here, opened, openedEnd }) {
      const bright = new Set(layers);
      rows.forEach((node, layer) => {
        node.classList.toggle("lw-in", bright.has(layer));
        node.classList.toggle("lw-here", layer === here);
        node.classList.toggle("lw-open", layer === opened);
        node.setAttribute("aria-selected", String(bright.has(layer)));
      });
      for (const [where, node] of Object.entries(ends)) node.classList.toggle("lw-open", where === openedEnd);
      const active = opened ?? here;
      if (active == null) list.removeAttribute("aria-activedescendant");
      else list.setAttribute("aria-activedescendant", `${id}-${active}`);
    },
    /** Scrolls a layer into the list's own view, or to its middle; the page stays where it is. */
    reveal(layer, middle = false) {
      const top = (count - 1 - layer) * rowHeight;
      if (middle) {
        list.scrollTop = (count - 1 - layer - (seen >> 1)) * rowHeight;
        tellHidden();
      } else if (top < list.scrollTop) list.scrollTop = top;
      else if (top + rowHeight > list.scrollTop + list.clientHeight) list.scrollTop = top + rowHeight - list.clientHeight;
    },
    /** The layer at a height of the page, the nearest one beyond the ends. */
    layerAt(y) {
      const fromTop = Math.floor((y - inner.getBoundingClientRect().top) / zoomOf(inner) / rowHeight);
      return Math.min(count - 1, Math.max(0, count - 1 - fromTop));
    },
  };
}
