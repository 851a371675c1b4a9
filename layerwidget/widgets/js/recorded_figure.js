// Curves over layers in a page: lines from recorded numbers, and what is no line as pictures that Python has drawn.

import { shareTraits } from "./bus.js";
import { KEYS, element, onFrame } from "./dom.js";
import { exactValue } from "./heat_cells.js";
import { curveLegend, drawLines, pinnedCurves, sheetCurves } from "./recorded_lines.js";
import { layerNumbers } from "./rows.js";
import { withStore } from "./store.js";
import { curveTable, makeTwin } from "./table_twin.js";

/** First and last of each run of neighbouring layers, ascending. */
export function layerRuns(layers) {
  const found = [];
  for (const layer of layers) {
    if (found.length && layer === found.at(-1)[1] + 1) found.at(-1)[1] = layer;
    else found.push([layer, layer]);
  }
  return found;
}

/** A value in full; what is counted, such as a rank, without decimals. */
export function writtenValue(value) {
  return Number.isInteger(value) && Math.abs(value) > 1 ? String(value) : exactValue(value);
}

/** What stands in a table where there is no value, as in Python's. */
const NO_VALUE = "–";

/** Lines as the table of curves has them: a row per layer, the last one on top; a curve without a name is called what the axis is. */
export function linesTold(curves, axis) {
  const told = ({ values, say = writtenValue }, row) => {
    if (!values) return "not recorded here";
    return Number.isFinite(values[row]) ? say(values[row]) : NO_VALUE;
  };
  const rows = (curves[0]?.layers ?? []).map((layer, row) => [String(layer), ...curves.map((curve) => told(curve, row))]);
  return { columns: curves.map(({ name }) => name || axis), rows: rows.reverse() };
}

/** The same of a picture that Python has drawn, whose marks say which layer, which curve and which value they are. */
export function marksTold(marks, axis) {
  const once = (all) => [...new Set(all)];
  const columns = once(marks.map(({ name }) => name || axis));
  const layers = once(marks.map(({ layer }) => Number(layer))).sort((one, other) => other - one);
  const told = new Map(marks.map(({ layer, name, value }) => [`${layer} ${name || axis}`, writtenValue(Number(value))]));
  return { columns, rows: layers.map((layer) => [String(layer), ...columns.map((name) => told.get(`${layer} ${name}`) ?? NO_VALUE)]) };
}

/** An SVG text as nodes of this page; what it shows is said by what it stands in. */
function svgNode(text) {
  const svg = document.importNode(new DOMParser().parseFromString(text, "image/svg+xml").documentElement, true);
  svg.removeAttribute("role");
  svg.setAttribute("aria-hidden", "true");
  return svg;
}

/** Moves the shaded layers and the chosen one in a picture. */
function markLayers(svg, layers, layer) {
  const [zero, step] = [Number(svg.dataset.x0), Number(svg.dataset.step)];
  const bands = [...svg.querySelectorAll(".lw-band")];
  const runs = layerRuns(layers);
  while (bands.length && bands.length < runs.length) {
    bands.push(bands[0].cloneNode());
    bands[0].after(bands.at(-1));
  }
  bands.forEach((band, index) => {
    const [first, last] = runs[index] ?? [0, -1];
    band.setAttribute("x", zero + (first - 0.5) * step);
    band.setAttribute("width", Math.max(0, last - first + 1) * step);
  });
  const cursor = svg.querySelector(".lw-cursor");
  for (const end of ["x1", "x2"]) cursor?.setAttribute(end, zero + layer * step);
}

export default withStore(({ model, el, store }) => {
  const shared = shareTraits(model, ["layers", "layer", "position", "tokens"]);
  const title = element("span", { class: "lw-title" });
  const detail = element("span", { class: "lw-detail" });
  const buttons = element("div", { class: "widget-toggle-buttons", role: "group", "aria-label": "What is drawn" });
  const stage = element("div", { class: "lw lw-figure-stage", role: "img" });
  const blank = element("div", { class: "lw-placeholder" });
  el.classList.add("lw-figure", "lw-recorded-figure");
  const legend = element("div", { class: "lw lw-figure-legend" });
  const bar = element("div", { class: "lw-bar" }, title, detail);
  el.append(element("div", { class: "lw lw-curves" }, bar), buttons, stage, legend);
  let drawn = null;
  let hover = null;

  const sheetNow = () => {
    const sheets = model.get("sheets")[model.get("quantity")] ?? [];
    return sheets[Math.min(shared.get("position"), sheets.length - 1)] ?? null;
  };
  const about = (sheet) => `${model.get("title")}${sheet?.detail ? ` · ${sheet.detail}` : ""}`;
  const describe = (sheet) => {
    const said = hover !== null && drawn ? valuesAt(hover) : "";
    const words = said ? `layer ${hover}: ${said}` : sheet?.detail ?? "";
    title.textContent = model.get("title");
    detail.textContent = words && ` · ${words}`;
    stage.setAttribute("aria-label", about(sheet));
  };
  const valuesAt = (layer) => [...drawn.querySelectorAll(`[data-value][data-layer="${layer}"]`)]
    .map(({ dataset }) => `${dataset.name ? `${dataset.name} ` : ""}${dataset.said ?? writtenValue(Number(dataset.value))}`).join(" · ");
  /** What is drawn as lines: the words that the reader has pinned, where the figure is about words; else what it is. */
  const curvesOf = (sheet) => {
    const [quantity, { quantities = [] }] = [model.get("quantity"), model.get("words")];
    const [tokens, position] = [shared.get("tokens"), shared.get("position")];
    if (quantities.includes(quantity) && tokens.length) return pinnedCurves(model.get("words"), store.data, tokens, quantity, position);
    return sheetCurves(sheet, store.data[`values ${quantity}`], position);
  };
  const lines = (sheet) => {
    const svg = svgNode(model.get("frames")[sheet.frame]);
    const curves = curvesOf(sheet);
    drawLines(svg, curves);
    legend.replaceChildren(...curveLegend(curves));
    return svg;
  };
  const twin = makeTwin(bar, () => {
    const [sheet, axis] = [sheetNow(), model.get("axes")[model.get("quantity")] ?? ""];
    if (!drawn) return null;
    const marks = () => [...drawn.querySelectorAll("[data-value][data-layer]")].map(({ dataset }) => dataset);
    return curveTable(about(sheet), sheet.svg ? marksTold(marks(), axis) : linesTold(curvesOf(sheet), axis), shared.get("layer"));
  });
  const mark = () => { if (drawn) markLayers(drawn, layerNumbers(shared.get("layers")), shared.get("layer")); };
  const draw = () => {
    const sheet = sheetNow();
    // Its numbers come after it.
    const ready = sheet && (sheet.svg || store.data?.[`values ${model.get("quantity")}`]);
    legend.replaceChildren();
    drawn = ready ? sheet.svg ? svgNode(sheet.svg) : lines(sheet) : null;
    blank.textContent = model.get("blank");
    bar.parentElement.classList.toggle("lw-blank", !sheet);
    stage.replaceChildren(...(drawn ? [drawn] : sheet ? [] : [blank]));
    mark();
    describe(sheet);
    el.dataset.quantity = model.get("quantity");
    twin.changed();
  };
  const offer = () => {
    const quantities = model.get("quantities");
    // Where nothing is drawn, nothing else can be.
    buttons.hidden = quantities.length < 2 || !Object.values(model.get("sheets")).some((sheets) => sheets.length);
    buttons.replaceChildren(...quantities.map(([name, label, tooltip]) => {
      const pressed = name === model.get("quantity");
      return element("button", {
        ...KEYS, type: "button", class: `widget-toggle-button${pressed ? " mod-active" : ""}`, title: tooltip,
        "aria-pressed": String(pressed), "data-quantity": name,
        onclick: () => {
          model.set("quantity", name);
          buttons.querySelector(`[data-quantity="${CSS.escape(name)}"]`)?.focus();
        },
      }, label);
    }));
  };
  const later = onFrame(() => { offer(); draw(); });
  const marking = onFrame(mark);
  stage.addEventListener("pointermove", (event) => {
    if (!drawn) return;
    const { x0, step, nLayers } = drawn.dataset;
    const at = drawn.querySelector(".lw-cursor")?.getScreenCTM();
    const layer = at ? Math.round(((event.clientX - at.e) / at.a - Number(x0)) / Number(step)) : -1;
    hover = layer >= 0 && layer < Number(nLayers) ? layer : null;
    describe(sheetNow());
  });
  stage.addEventListener("pointerleave", () => { hover = null; describe(sheetNow()); });
  stage.addEventListener("click", () => { if (hover !== null) shared.set({ layer: hover }); });
  shared.listen((name) => {
    if (name === "layer") twin.changed();
    if (name === "layers" || name === "layer") marking();
    else if (name === "position" || name === "tokens") later();
  });
  store.listen(later);
  const watched = ["sheets", "frames", "words", "quantity", "quantities", "axes", "title", "blank"];
  for (const name of watched) model.on(`change:${name}`, name === "quantity" ? () => { offer(); draw(); } : later);
  offer();
  draw();
  return twin.close;
});
