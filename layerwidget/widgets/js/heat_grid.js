// A grid of numbers, layers by tokens, heads or anything else: several sheets of them, of which one is shown.

import { shareTraits } from "./bus.js";
import { KEYS, choice, element, setFacts } from "./dom.js";
import { chosenSheet, exactValue, heatColours, heatEnds, paintHeat } from "./heat_cells.js";
import { LABELS_HEIGHT } from "./layer_grid.js";
import { openLayerView } from "./layer_view.js";
import { GRID_HEIGHT, layersTitle } from "./rows.js";
import { withStore } from "./store.js";

/** The page of the view: title line, grid, and a line that says the value of a cell. */
function buildHeatPage(el, shared) {
  const page = {
    canvas: element("canvas"),
    title: element("span", { class: "lw-title" }),
    detail: element("span", { class: "lw-detail" }),
    legend: element("span", { class: "lw-legend" }),
    empty: element("div", { class: "lw-placeholder" }),
    sheets: choice("What is shown", [], "", (sheet) => shared.set({ sheet })),
    readout: element("div", { class: "lw-heat-readout" }),
  };
  page.spacer = element("div", { class: "lw-spacer" }, page.canvas);
  page.scroll = element("div", {
    ...KEYS, class: "lw-scroll", tabindex: 0, role: "application", "aria-roledescription": "grid", style: `height:${GRID_HEIGHT + LABELS_HEIGHT + 2}px`,
  }, page.spacer);
  el.classList.add("lw", "lw-heat");
  el.append(
    element("div", { class: "lw-bar" }, page.title, page.detail, page.legend, page.sheets),
    element("div", { class: "lw-heat-body" }, page.scroll, page.empty), page.readout);
  return page;
}

/** What is said of a cell: where it is, and its value in full. */
export function cellText({ layer, column }, { data, sheet, values, held, labels, texts }) {
  const { picks, numbers, names } = data.columns;
  const where = names?.length ? names[column] : picks === "position" ? `“${labels[column]}” (position ${numbers[column]})`
    : picks === "head" ? `head ${numbers[column]}` : labels[column];
  const cell = held.get(layer) * labels.length + column;
  const value = values[cell];
  const word = (texts?.in_full ?? texts?.words)?.(cell);
  const amount = Number.isFinite(value) ? `${exactValue(value)}${sheet.unit ? ` ${sheet.unit}` : ""}` : "no value";
  // Words that say more than the cell have said it where there is nothing to count.
  const counted = word && texts.in_full && value === 0 ? word : `${word ? `${word} ` : ""}${amount}`;
  return `layer ${layer} · ${where} · ${sheet.name}: ${counted}`;
}

/** What a cell of the table says: the word that is in it, and its value. */
export function cellValue({ layer, column }, { values, held, labels, texts }) {
  const cell = held.get(layer) * labels.length + column;
  const amount = Number.isFinite(values[cell]) ? exactValue(values[cell]) : "no value";
  return texts.words ? `${texts.words(cell)} ${amount}` : amount;
}

/** What the cells of a sheet say in words, by cell, where they do. */
function sheetTexts(data, place) {
  const texts = ["words", "in_full"].filter((key) => data.sheets[place][key]);
  return Object.fromEntries(texts.map((key) => [key, (cell) => data.sheets[place][key][data[`${key}${place}`].data[cell]]]));
}

/** The cell that was moved to, or the next one in the same direction that can be chosen; null where there is none. */
export function choosable(cell, from, numbers) {
  if (!cell) return null;
  const step = Math.sign(cell.column - from.column);
  let { column } = cell;
  while (step && numbers[column] < 0) column += step;
  return column in numbers ? { ...cell, column } : null;
}

export default withStore(({ model, el, store }) => {
  const shared = shareTraits(model, ["layers", "layer", "position", "head"], ["column", "sheet"]);
  const page = buildHeatPage(el, shared);
  const column = ({ columns: { picks, numbers, labels } }) => {
    const chosen = numbers.indexOf(shared.get(picks));
    return chosen >= 0 ? chosen : labels.length - 1;
  };
  const makeScene = (data) => {
    const place = chosenSheet(data.sheets, shared.get("sheet"));
    const size = data.layers.length * data.columns.labels.length;
    return {
      labels: data.columns.labels, sheet: data.sheets[place], place,
      values: data.values.data.subarray(place * size, (place + 1) * size), texts: sheetTexts(data, place),
    };
  };
  let offered = null;
  const offer = ({ data, place }) => {
    if (offered !== data.revision) {
      page.sheets.replaceChildren(...data.sheets.map(({ name }) => element("option", { value: name }, name)));
      page.sheets.hidden = data.sheets.length < 2;
      offered = data.revision;
    }
    page.sheets.value = data.sheets[place].name;
  };
  /** What stands in place of cells that would all be hatched. */
  const layout = (scene) => {
    offer(scene);
    const nothing = Boolean(scene.sheet.empty);
    if (nothing) page.empty.textContent = scene.sheet.empty;
    page.empty.hidden = !nothing;
    el.classList.toggle("lw-nothing", nothing);
  };
  const describe = (scene) => {
    const { rows, sheet, data, here, hover, palette } = scene;
    setFacts(page.detail, [...sheet.detail.split(" · "), ...model.get("detail").split(" · "), layersTitle([...rows].reverse()), "last layer on top"]);
    const [low, high] = heatEnds(sheet);
    const ramp = `linear-gradient(to right, ${heatColours(sheet, palette).join(",")})`;
    const absent = sheet.absent ? [element("span", { class: "lw-hatch" }), element("span", {}, "no value")] : [];
    page.legend.replaceChildren(
      element("span", {}, low), element("span", { class: "lw-ramp", style: `background:${ramp}` }), element("span", {}, high), ...absent);
    page.readout.textContent = cellText(hover ?? here, scene);
    const columns = data.columns.picks === "position" ? "tokens" : data.columns.picks === "head" ? "heads" : "columns";
    page.scroll.setAttribute("aria-label", `${sheet.name}, layers by ${columns}: arrow keys move the selected cell`);
  };
  const view = openLayerView({ model, el, store, shared }, page, {
    column, columnNames: ["position", "head", "column"], scene: makeScene, layout, paint: paintHeat, show: describe,
    traits: ["title", "detail", "placeholder"],
    begin() {
      page.title.textContent = model.get("title");
      page.empty.textContent = model.get("placeholder");
    },
    clear() {
      el.classList.remove("lw-nothing");
      setFacts(page.detail, []);
      page.readout.textContent = "";
    },
    said: () => page.readout.textContent,
    table: (scene) => [[model.get("title"), scene.sheet.name, scene.sheet.unit].filter(Boolean).join(", "), (cell) => cellValue(cell, scene)],
    choose({ layer, column: chosen }, { data: { columns: { picks, numbers } } }) {
      shared.set(numbers[chosen] < 0 ? { layer } : { layer, [picks]: numbers[chosen] });
    },
    target: (cell, { here, data }) => choosable(cell, here, data.columns.numbers),
  });
  return view.close;
});
