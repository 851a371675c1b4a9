// Any numbers per layer and column as a grid of colours, with a choice of sheets.

import { shareTraits } from "./bus.js";
import { readPalette } from "./colour.js";
import { KEYS, choice, element, onFrame, setFacts, watchLook } from "./dom.js";
import { chosenSheet, exactValue, heatColours, heatEnds, paintHeat } from "./heat_cells.js";
import { LABELS_HEIGHT, followGrid, makeLayerGrid, movedCell, revealSoon } from "./layer_grid.js";
import { GRID_HEIGHT, layerNumbers, layersTitle } from "./rows.js";
import { dimStale, isText, withStore } from "./store.js";
import { layerTable, makeTwin } from "./table_twin.js";
import { makeVoice } from "./voice.js";

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
  const grid = makeLayerGrid(page, paintHeat);
  let palette = null;
  let scene = null;
  let hover = null;

  const voice = makeVoice(shared, el, { news: () => page.readout.textContent });
  const twin = makeTwin(page.scroll, () => scene && layerTable(
    [model.get("title"), scene.sheet.name, scene.sheet.unit].filter(Boolean).join(", "), scene, grid.visibleColumns(), (cell) => cellValue(cell, scene)));

  const makeScene = (data) => {
    const held = new Map(data.layers.map((layer, row) => [layer, row]));
    const { picks, numbers, labels } = data.columns;
    const place = chosenSheet(data.sheets, shared.get("sheet"));
    const size = data.layers.length * labels.length;
    const chosen = numbers.indexOf(shared.get(picks));
    return {
      data, held, palette, hover, labels, sheet: data.sheets[place], place,
      values: data.values.data.subarray(place * size, (place + 1) * size), texts: sheetTexts(data, place),
      rows: layerNumbers(shared.get("layers")).filter((layer) => held.has(layer)).reverse(),
      here: {
        layer: held.has(shared.get("layer")) ? shared.get("layer") : data.layers.at(-1),
        column: chosen >= 0 ? chosen : labels.length - 1,
      },
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
  const describe = ({ rows, sheet, data, here }) => {
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
      el.classList.remove("lw-nothing");
      setFacts(page.detail, []);
      page.readout.textContent = "";
      return;
    }
    offer(scene);
    // All hatched, it would say nothing.
    const nothing = Boolean(scene.sheet.empty);
    if (nothing) page.empty.textContent = scene.sheet.empty;
    page.empty.hidden = !nothing;
    el.classList.toggle("lw-nothing", nothing);
    grid.draw(scene);
    describe(scene);
    twin.changed();
    el.dataset.revision = data.revision;
    el.dataset.prompt = data.prompt ?? "";
  });

  const choose = ({ layer, column }) => {
    const { picks, numbers } = scene.data.columns;
    shared.set(numbers[column] < 0 ? { layer } : { layer, [picks]: numbers[column] });
  };
  const enter = (cell) => {
    if (cell?.layer === hover?.layer && cell?.column === hover?.column) return;
    hover = cell;
    draw();
  };
  const target = (key, { here, rows, labels, data }) => choosable(movedCell(key, here, rows, labels.length), here, data.columns.numbers);
  followGrid(page.scroll, grid, { scene: () => scene, draw, enter, choose, target, moved: () => voice.say(() => page.readout.textContent) });
  const reveal = () => revealSoon(grid, () => scene);
  shared.listen((name) => {
    // Typing changes nothing in the picture until its answer is there.
    if (isText(name)) {
      dim();
      return;
    }
    if (scene && name === scene.data.columns.picks) {
      // At the end of a prompt that is being typed, the place of the next token changes nothing until its answer is there.
      if (makeScene(scene.data).here.column === scene.here.column) return;
      reveal();
    }
    draw();
  });
  const words = ["change:title", "change:detail", "change:placeholder"];
  for (const word of words) model.on(word, draw);
  const off = [store.listen(() => {
    // A cell under the pointer may be gone.
    hover = null;
    draw();
    reveal();
  }), watchLook(el, () => {
    // A place that was in sight stays there when there is less room.
    if (scene && grid.sees(scene.here)) reveal();
    draw();
  })];
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
