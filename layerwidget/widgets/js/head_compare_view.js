import { shareTraits } from "./bus.js";
import { readPalette } from "./colour.js";
import { KEYS, element, onFrame, watchLook } from "./dom.js";
import { heatColours } from "./heat_cells.js";
import { MATRICES, differenceOf, makeMatrixRow, matrixRowHeight } from "./matrix_row.js";
import { dimStale, isText, withStore } from "./store.js";

/** How many keys are said beside the matrices. */
const SAID_KEYS = 5;

/** A token of either prompt, or of both where they differ: "␣Paris→␣London". */
export function pairWord(data, column) {
  const [a, b] = [data.words_a[column], data.words_b[column]];
  return a && b && a !== b ? `${a}→${b}` : a || b;
}

const written = (weight) => (Number.isNaN(weight) ? "no token" : weight.toFixed(3));
const signed = (change) => (change >= 0.0005 ? "+" : "") + change.toFixed(3).replace(/^-(0\.000)$/, "$1");

/** One cell in full: where it is, its weight in both, and the difference where both have it. */
export function pairText(data, { query, key }) {
  const { a, b, change } = differenceOf(data, query, key);
  const place = (column) => {
    const [at, other] = [data.places_a[column], data.places_b[column]];
    return `“${pairWord(data, column)}” (${at < 0 ? `B ${other}` : other < 0 ? `A ${at}` : at === other ? at : `${at}, B ${other}`})`;
  };
  return `${place(query)} → ${place(key)} · A ${written(a)} · B ${written(b)}${Number.isNaN(change) ? "" : ` · B − A ${signed(change)}`}`;
}

/** The keys of a query whose weight changes most, the largest change first; what is not there has no weight. */
export function movedKeys(data, query, most) {
  const found = data.words_a.map((_, key) => ({ key, ...differenceOf(data, query, key) }));
  const size = ({ a, b }) => Math.abs((b || 0) - (a || 0));
  return found.filter((one) => size(one) > 0).sort((one, other) => size(other) - size(one) || one.key - other.key).slice(0, most);
}

function buildHeadPage(el) {
  const page = {
    detail: element("span", { class: "lw-detail" }),
    legend: element("span", { class: "lw-legend" }),
    matrices: element("div", {
      ...KEYS, class: "lw-pair-matrices", tabindex: 0, role: "group",
      "aria-label": "Attention of the chosen head in A, in B, and the difference: up and down choose the query",
    }, element("canvas")),
    readout: element("div", { class: "lw-heat-readout", "aria-live": "polite" }),
    movedTitle: element("div", { class: "lw-panel-title" }),
    moved: element("div", { class: "lw-moved-rows" }),
    empty: element("div", { class: "lw-placeholder" }),
  };
  el.classList.add("lw", "lw-head-pair");
  el.append(
    element("div", { class: "lw-bar" }, element("span", { class: "lw-title" }, "The chosen head"), page.detail, page.legend),
    element("div", { class: "lw-head-pair-body" }, page.matrices, page.readout, page.movedTitle, page.moved, page.empty));
  return page;
}

/** One key of the chosen query: its weight in both as bars from 0 to 1, and the difference. */
function movedRow(data, { key, a, b, change }, shared) {
  const track = (weight) => element("span", { class: "lw-bar-track" },
    element("span", { class: Number.isNaN(weight) ? "lw-moved-none" : "lw-bar-fill", style: `width:${100 * (weight || 0)}%` }));
  const fill = element("span", { class: change < 0 ? "lw-signed-fill lw-below" : "lw-signed-fill" });
  const half = Number.isNaN(change) ? 0 : 50 * Math.abs(change);
  fill.style.cssText = `left:${change < 0 ? 50 - half : 50}%;width:${half}%`;
  const at = data.places_a[key];
  const word = element("button", { class: "lw-word", type: "button", disabled: at < 0, title: pairWord(data, key) }, pairWord(data, key));
  word.addEventListener("click", () => shared.set({ position: at }));
  return element("div", { class: "lw-moved-row" }, word,
    element("span", { class: "lw-number" }, written(a)), track(a), element("span", { class: "lw-number" }, written(b)), track(b),
    element("span", { class: "lw-number" }, Number.isNaN(change) ? "" : signed(change)),
    element("span", { class: "lw-signed-track" }, ...(half ? [fill] : [])));
}

export default withStore(({ model, el, store }) => {
  const shared = shareTraits(model, ["layer", "head", "position"]);
  const page = buildHeadPage(el);
  const row = makeMatrixRow(page.matrices.firstChild);
  let palette = null;
  let scene = null;
  let hover = null;

  const dim = () => dimStale(el, shared, store.data);
  const makeScene = (data) => ({
    data, palette, hover, query: data.places_a.indexOf(Math.min(shared.get("position"), Math.max(...data.places_a))),
  });
  const ramp = (kind) => element("span", { class: "lw-ramp", style: `background:linear-gradient(to right, ${heatColours({ kind }, palette).join(",")})` });
  const describe = ({ data, query }) => {
    const [layer] = data.layers;
    const other = data.layer_b === layer ? "" : ` (B: layer ${data.layer_b})`;
    page.detail.textContent = ` · layer ${layer} · head ${data.head}${other} · square-root scale`;
    const absent = data.places_a.some((at, column) => at < 0 || data.places_b[column] < 0);
    page.legend.replaceChildren(
      element("span", {}, "A, B: 0"), ramp("one-sided"), element("span", {}, "1"),
      element("span", { class: "lw-legend-next" }, "B − A: −1"), ramp("signed"), element("span", {}, "1"),
      ...(absent ? [element("span", { class: "lw-hatch" }), element("span", {}, "no token")] : []));
    const told = hover ?? { query, key: movedKeys(data, query, 1)[0]?.key ?? query };
    page.readout.textContent = `${hover ? "" : "largest change: "}${pairText(data, told)}`;
    if (!hover && !movedKeys(data, query, 1).length) page.readout.textContent = `Nothing changes for “${pairWord(data, query)}”.`;
    const from = hover?.query ?? query;
    page.movedTitle.replaceChildren(element("b", {}, `From “${pairWord(data, from)}”`), " · the keys whose weight changes most");
    const rows = movedKeys(data, from, SAID_KEYS).map((one) => movedRow(data, one, shared));
    const head = element("div", { class: "lw-moved-row lw-moved-head" }, element("span", {}, "key"),
      ...MATRICES.flatMap((name) => [element("span", { class: "lw-number" }, name), element("span")]));
    page.moved.replaceChildren(head, ...rows);
  };
  const draw = onFrame(() => {
    const { data } = store;
    const ready = Boolean(data?.layers.length);
    page.empty.hidden = ready;
    page.empty.textContent = data?.note || "The chosen head in A and in B appears here.";
    el.classList.toggle("lw-blank", !ready);
    el.classList.toggle("lw-ready", ready);
    dim();
    palette = readPalette(el, palette);
    scene = ready ? makeScene(data) : null;
    // What is to come takes as much room.
    page.matrices.style.height = `${matrixRowHeight(page.matrices.clientWidth)}px`;
    if (!scene) {
      page.detail.textContent = "";
      return;
    }
    row.draw(scene, page.matrices.clientWidth);
    describe(scene);
    el.dataset.revision = data.revision;
    el.dataset.prompt = data.prompt ?? "";
  });
  const enter = (found) => {
    if (found?.key === hover?.key && found?.query === hover?.query) return;
    hover = found;
    draw();
  };
  const choose = (place) => { if (place >= 0) shared.set({ position: place }); };
  page.matrices.addEventListener("pointermove", (event) => enter(scene && row.at(event)));
  page.matrices.addEventListener("pointerleave", () => enter(null));
  page.matrices.addEventListener("click", (event) => {
    const found = scene && row.at(event);
    if (found) choose(scene.data.places_a[found.query]);
  });
  page.matrices.addEventListener("keydown", (event) => {
    const step = { ArrowUp: -1, ArrowDown: 1, ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || !scene) return;
    event.preventDefault();
    event.stopPropagation();
    choose(Math.min(Math.max(...scene.data.places_a), Math.max(0, shared.get("position") + step)));
  });
  shared.listen((name) => (isText(name) ? dim() : draw()));
  const off = [store.listen(() => { hover = null; draw(); }), watchLook(el, draw)];
  draw();
  return () => {
    off.forEach((stop) => stop());
    draw.cancel();
    shared.close();
  };
});
