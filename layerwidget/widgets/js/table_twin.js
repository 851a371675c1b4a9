// What a canvas shows, as a table for whoever cannot see it: there while its grid has the focus, or when a reader asks.

import { KEYS, element, setText } from "./dom.js";

/** So many rows, or columns, can be listened to. */
const MOST_TOLD = 24;

/** Which of `count` places are told, around one of them: the first, and the one after the last. */
export function around(place, count, most = MOST_TOLD) {
  const first = Math.max(0, Math.min(count - most, place - (most >> 1)));
  return [first, Math.min(count, first + most)];
}

/** What is left out: "columns 4 to 27 of 60", or nothing. */
export function cutText([first, end], count, what) {
  return end - first < count ? `${what} ${first + 1} to ${end} of ${count}` : "";
}

/** The table of a layer grid: rows are layers, the last one on top; `say` gives the text of a cell. */
export function layerTable(title, { rows, labels, here }, columns, say) {
  const row = Math.max(0, rows.indexOf(here.layer));
  const [down, across] = [around(row, rows.length), columns];
  const places = Array.from({ length: across[1] - across[0] }, (_, index) => across[0] + index);
  return {
    caption: [title, cutText(down, rows.length, "rows"), cutText(across, labels.length, "columns")].filter(Boolean).join(" · "),
    corner: "layer",
    columns: places.map((column) => labels[column]),
    rows: rows.slice(...down).map((layer) => ({ name: String(layer), cells: places.map((column) => say({ layer, column })) })),
    here: { row: row - down[0], column: here.column - across[0] },
  };
}

/** The table of a matrix: rows are queries, columns keys, both cut around the chosen query; `say` gives a cell's text. */
export function matrixTable(title, { words, keyWords = words, query, key }, say) {
  const [down, across] = [around(query, words.length), around(key, keyWords.length)];
  const told = (all, [first, end]) => Array.from({ length: end - first }, (_, index) => [first + index, all[first + index]]);
  const columns = told(keyWords, across);
  return {
    caption: [title, cutText(down, words.length, "queries"), cutText(across, keyWords.length, "keys")].filter(Boolean).join(" · "),
    corner: "from, to",
    columns: columns.map(([, word]) => word),
    rows: told(words, down).map(([row, word]) => ({ name: word, cells: columns.map(([column]) => say(row, column)) })),
    here: { row: query - down[0], column: key - across[0] },
  };
}

/** The table of one number for each of many places, cut around one of them. */
export function listTable(title, what, unit, labels, place, say) {
  const span = around(place, labels.length, 4 * MOST_TOLD);
  return {
    caption: [title, cutText(span, labels.length, what)].filter(Boolean).join(" · "),
    corner: what,
    columns: [unit],
    rows: labels.slice(...span).map((label, index) => ({ name: `${label} (${span[0] + index})`, cells: [say(span[0] + index)] })),
    here: { row: place - span[0], column: 0 },
  };
}

/** The table of curves over the layers, a row per layer, cut around the chosen one; null where nothing is drawn. */
export function curveTable(title, { columns, rows } = {}, layer) {
  if (!rows?.length) return null;
  const row = rows.findIndex(([name]) => name === String(layer));
  const down = around(Math.max(0, row), rows.length);
  return {
    caption: [title, cutText(down, rows.length, "rows")].filter(Boolean).join(" · "),
    corner: "layer",
    columns,
    rows: rows.slice(...down).map(([name, ...cells]) => ({ name, cells })),
    // Not every curve goes through every layer.
    here: row < 0 ? null : { row: row - down[0], column: 0 },
  };
}

/** The table as a page has it. One of the same shape keeps its cells, so that a reader is not thrown out of it. */
function fill(box, { caption, corner, columns, rows, here }) {
  const shape = `${rows.length}x${columns.length}`;
  if (box.dataset.shape !== shape) {
    const heads = [corner, ...columns].map(() => element("th", { scope: "col" }));
    const line = () => element("tr", {}, element("th", { scope: "row" }), ...columns.map(() => element("td")));
    box.replaceChildren(element("table", {}, element("caption"), element("thead", {}, element("tr", {}, ...heads)), element("tbody", {}, ...rows.map(line))));
    box.dataset.shape = shape;
  }
  const table = box.firstChild;
  setText(table.caption, caption);
  [corner, ...columns].forEach((text, place) => setText(table.tHead.rows[0].cells[place], text));
  rows.forEach(({ name, cells }, row) => [name, ...cells].forEach((text, place) => {
    const cell = table.tBodies[0].rows[row].cells[place];
    setText(cell, text);
    if (here && row === here.row && place === here.column + 1) cell.setAttribute("aria-current", "true");
    else cell.removeAttribute("aria-current");
  }));
}

const idly = globalThis.requestIdleCallback ?? ((work) => setTimeout(work, 50));
const never = globalThis.cancelIdleCallback ?? clearTimeout;

/**
 * The twin of `grid`: `read()` gives its table as it is now, or null.
 *
 * While nobody needs it there is no table, and `changed` does nothing. A button that is seen when it has the focus
 * shows the table in the grid's place.
 */
export function makeTwin(grid, read) {
  const box = element("div", { ...KEYS, class: "lw-twin lw-unseen", role: "group", "aria-label": "The same as a table" });
  const button = element("button", { ...KEYS, class: "lw-button lw-twin-button", type: "button", "aria-expanded": "false" }, "As a table");
  grid.after(button, box);
  let asked = false;
  let waiting = 0;
  const isNeeded = () => asked || grid === document.activeElement;
  const refresh = () => {
    waiting = 0;
    const table = isNeeded() ? read() : null;
    if (table) fill(box, table);
    else clear();
  };
  const clear = () => {
    box.replaceChildren();
    delete box.dataset.shape;
  };
  const changed = () => {
    if (isNeeded() && !waiting) waiting = idly(refresh, { timeout: 500 });
  };
  const show = (on) => {
    asked = on;
    box.classList.toggle("lw-unseen", !on);
    button.setAttribute("aria-expanded", String(on));
    setText(button, on ? "Close the table" : "As a table");
    if (on) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
    refresh();
    (on ? box : button).focus();
  };
  button.addEventListener("click", () => show(!asked));
  box.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    show(false);
  });
  grid.addEventListener("focus", changed);
  grid.addEventListener("blur", () => { if (!asked) clear(); });
  return { changed, close: () => never(waiting) };
}
