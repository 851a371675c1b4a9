// Curves over layers in a page: lines from recorded numbers, and what is no line as pictures that Python has drawn.

import { shareTraits } from "./bus.js";
import { movedPoint, pointNear, pointText, valuesOfLayer } from "./curve_points.js";
import { KEYS, element, onFrame } from "./dom.js";
import { axesOf, curveLegend, drawLines, heightOf, pinnedCurves, shape, sheetCurves } from "./recorded_lines.js";
import { curvesOfMarks, drawnMarks, ringAround, ringBox, writtenValue } from "./recorded_points.js";
import { layerNumbers } from "./rows.js";
import { withStore } from "./store.js";
import { curveTable, makeTwin } from "./table_twin.js";
import { makeVoice } from "./voice.js";

/** First and last of each run of neighbouring layers, ascending. */
export function layerRuns(layers) {
  const found = [];
  for (const layer of layers) {
    if (found.length && layer === found.at(-1)[1] + 1) found.at(-1)[1] = layer;
    else found.push([layer, layer]);
  }
  return found;
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

/** Moves the ring around what the keyboard points at, or takes it away. */
function ringPoint(svg, point) {
  const ring = svg.querySelector(".lw-point");
  if (!point) return ring?.remove();
  const axes = axesOf(svg);
  const node = ring ?? shape("rect", { class: "lw-point" });
  const attributes = ringAround(ringBox(point, axes, (value) => heightOf(value, axes)));
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  // Beside what is cut off at the axes, and in the same coordinates.
  if (!ring) svg.querySelector(".lw-inside").after(node);
}

export default withStore(({ model, el, store }) => {
  const shared = shareTraits(model, ["layers", "layer", "position", "tokens"]);
  const title = element("span", { class: "lw-title" });
  const detail = element("span", { class: "lw-detail" });
  const buttons = element("div", { class: "widget-toggle-buttons", role: "group", "aria-label": "What is drawn" });
  const stage = element("div", { ...KEYS, class: "lw lw-figure-stage", role: "img", "aria-roledescription": "curves" });
  const blank = element("div", { class: "lw-placeholder" });
  el.classList.add("lw-figure", "lw-recorded-figure");
  const legend = element("div", { class: "lw lw-figure-legend" });
  const bar = element("div", { class: "lw-bar" }, title, detail);
  el.append(element("div", { class: "lw lw-curves" }, bar), buttons, stage, legend);
  const voice = makeVoice(shared, el, { guest: true });
  let drawn = null;
  let curves = [];
  let hover = null;
  let pointed = null;

  const sheetNow = () => {
    const sheets = model.get("sheets")[model.get("quantity")] ?? [];
    return sheets[Math.min(shared.get("position"), sheets.length - 1)] ?? null;
  };
  const about = (sheet) => `${model.get("title")}${sheet?.detail ? ` · ${sheet.detail}` : ""}`;
  /** What is said of the layer under the pointer, or of the point that the keyboard has come to. */
  const told = () => {
    if (hover !== null) return valuesOfLayer(curves, hover) && `layer ${hover}: ${valuesOfLayer(curves, hover)}`;
    return pointed ? `layer ${pointed.layer}: ${pointText(curves[pointed.curve], pointOf(pointed))}` : "";
  };
  const describe = (sheet) => {
    const words = told() || (sheet?.detail ?? "");
    title.textContent = model.get("title");
    detail.textContent = words && ` · ${words}`;
    // An empty one is no place to stop at.
    const keys = curves.length ? ": arrow keys go from value to value, Enter chooses the layer" : "";
    stage.setAttribute("role", keys ? "application" : "img");
    stage.setAttribute("aria-label", `${about(sheet)}${keys}`);
    if (keys) stage.tabIndex = 0;
    else stage.removeAttribute("tabindex");
  };
  const pointOf = ({ curve, layer }) => curves[curve].points.find((point) => point.layer === layer);
  const point = (to) => {
    pointed = to;
    if (drawn) ringPoint(drawn, pointed && pointOf(pointed));
    describe(sheetNow());
  };
  /** What is drawn as lines: the words that the reader has pinned, where the figure is about words; else what it is. */
  const curvesOf = (sheet) => {
    const [quantity, { quantities = [] }] = [model.get("quantity"), model.get("words")];
    const [tokens, position] = [shared.get("tokens"), shared.get("position")];
    if (quantities.includes(quantity) && tokens.length) return pinnedCurves(model.get("words"), store.data, tokens, quantity, position);
    return sheetCurves(sheet, store.data[`values ${quantity}`], position);
  };
  const lines = (sheet) => {
    const svg = svgNode(model.get("frames")[sheet.frame]);
    const found = curvesOf(sheet);
    drawLines(svg, found);
    legend.replaceChildren(...curveLegend(found));
    return svg;
  };
  const twin = makeTwin(bar, () => {
    const [sheet, axis] = [sheetNow(), model.get("axes")[model.get("quantity")] ?? ""];
    if (!drawn) return null;
    return curveTable(about(sheet), sheet.svg ? marksTold(drawnMarks(drawn), axis) : linesTold(curvesOf(sheet), axis), shared.get("layer"));
  });
  const mark = () => { if (drawn) markLayers(drawn, layerNumbers(shared.get("layers")), shared.get("layer")); };
  const draw = () => {
    const sheet = sheetNow();
    // Its numbers come after it.
    const ready = sheet && (sheet.svg || store.data?.[`values ${model.get("quantity")}`]);
    legend.replaceChildren();
    drawn = ready ? sheet.svg ? svgNode(sheet.svg) : lines(sheet) : null;
    curves = drawn ? curvesOfMarks(drawnMarks(drawn)) : [];
    blank.textContent = model.get("blank");
    bar.parentElement.classList.toggle("lw-blank", !sheet);
    stage.replaceChildren(...(drawn ? [drawn] : sheet ? [] : [blank]));
    mark();
    point(pointed && pointNear(curves, pointed));
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
  stage.addEventListener("focus", () => {
    if (stage.matches(":focus-visible")) point(pointNear(curves, { curve: 0, layer: shared.get("layer") }));
  });
  stage.addEventListener("blur", () => point(null));
  stage.addEventListener("keydown", (event) => {
    if (!curves.length || event.ctrlKey || event.metaKey || event.altKey) return;
    const here = pointed ?? pointNear(curves, { curve: 0, layer: shared.get("layer") });
    const chooses = event.key === "Enter" || event.key === " ";
    const to = chooses ? here : movedPoint(event.key, here, curves);
    if (!to) return;
    event.preventDefault();
    event.stopPropagation();
    hover = null;
    point(to);
    if (chooses) shared.set({ layer: to.layer });
    voice.say(() => (chooses ? `layer ${to.layer} is chosen` : told()));
  });
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
  return () => {
    twin.close();
    voice.close();
  };
});
