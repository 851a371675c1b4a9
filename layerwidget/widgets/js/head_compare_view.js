// The chosen head of two prompts: its attention in A, in B, and the difference, and the keys whose weight changes most.

import { shareTraits } from "./bus.js";
import { KEYS, element } from "./dom.js";
import { openView } from "./drawn_view.js";
import { heatColours } from "./heat_cells.js";
import { followMatrix } from "./matrix_keys.js";
import { MATRICES, differenceOf, makeMatrixRow, matrixRowHeight } from "./matrix_row.js";
import { withStore } from "./store.js";
import { makeTwin, matrixTable } from "./table_twin.js";
import { makeVoice } from "./voice.js";

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

/** What a cell of the table says: both weights, empty where neither prompt has such a key. */
export function pairCell(data, query, key) {
  const { a, b } = differenceOf(data, query, key);
  return Number.isNaN(a) && Number.isNaN(b) ? "" : `A ${written(a)}, B ${written(b)}`;
}

/** The place in the row of columns that is so many tokens of the first prompt away; a token that it has not is passed by. */
export function stepQuery(placesA, query, step) {
  const own = placesA.flatMap((at, column) => (at < 0 ? [] : [column]));
  return own[Math.min(own.length - 1, Math.max(0, own.indexOf(query) + step))];
}

function buildHeadPage(el) {
  const page = {
    title: element("span", { class: "lw-title" }, "The chosen head"),
    detail: element("span", { class: "lw-detail" }),
    legend: element("span", { class: "lw-legend" }),
    matrices: element("div", {
      ...KEYS, class: "lw-pair-matrices", tabindex: 0, role: "application", "aria-roledescription": "matrices",
      "aria-label": "Attention of the chosen head in A, in B, and the difference: up and down choose the query, left and right point at a key",
    }, element("canvas")),
    readout: element("div", { class: "lw-heat-readout" }),
    movedTitle: element("div", { class: "lw-panel-title" }),
    moved: element("div", { class: "lw-moved-rows" }),
    empty: element("div", { class: "lw-placeholder" }),
  };
  el.classList.add("lw", "lw-head-pair");
  el.append(
    element("div", { class: "lw-bar" }, page.title, page.detail, page.legend),
    element("div", { class: "lw-head-pair-body" }, page.matrices, page.readout, page.movedTitle, page.moved, page.empty));
  return page;
}

/** One key of the chosen query: its weight in both as bars from 0 to the limit, and the difference. */
function movedRow(data, { key, a, b, change }, shared) {
  const track = (weight) => element("span", { class: "lw-bar-track" },
    element("span", { class: Number.isNaN(weight) ? "lw-moved-none" : "lw-bar-fill", style: `width:${(100 * (weight || 0)) / data.limit}%` }));
  const fill = element("span", { class: change < 0 ? "lw-signed-fill lw-below" : "lw-signed-fill" });
  const half = Number.isNaN(change) ? 0 : (50 * Math.abs(change)) / data.limit;
  fill.style.cssText = `left:${change < 0 ? 50 - half : 50}%;width:${half}%`;
  const at = data.places_a[key];
  const word = element("button", { ...KEYS, class: "lw-word", type: "button", disabled: at < 0, title: pairWord(data, key) }, pairWord(data, key));
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
  const voice = makeVoice(shared, el);

  const ramp = (kind, palette) => element("span", { class: "lw-ramp", style: `background:linear-gradient(to right, ${heatColours({ kind }, palette).join(",")})` });
  /** Whoever has gone to a key by Tab stays at its place when other keys come there. */
  const replaceMoved = (...rows) => {
    const at = [...page.moved.children].findIndex((one) => one.contains(document.activeElement));
    page.moved.replaceChildren(...rows);
    if (at >= 0) (rows[at]?.querySelector(":enabled") ?? page.moved.querySelector(":enabled"))?.focus({ preventScroll: true });
  };
  const describe = ({ data, query, hover, palette }) => {
    page.title.textContent = data.title ?? "The chosen head";
    page.detail.textContent = ` · ${data.what} · √ scale`;
    const absent = data.places_a.some((at, column) => at < 0 || data.places_b[column] < 0);
    const end = data.limit === 1 ? "1" : data.limit.toPrecision(2);
    page.legend.replaceChildren(
      element("span", {}, "A, B: 0"), ramp("one-sided", palette), element("span", {}, end),
      element("span", { class: "lw-legend-next" }, `B − A: −${end}`), ramp("signed", palette), element("span", {}, end),
      ...(absent ? [element("span", { class: "lw-hatch" }), element("span", {}, "no token")] : []));
    const told = hover ?? { query, key: movedKeys(data, query, 1)[0]?.key ?? query };
    page.readout.textContent = `${hover ? "" : "largest change: "}${pairText(data, told)}`;
    if (!hover && !movedKeys(data, query, 1).length) page.readout.textContent = `Nothing changes for “${pairWord(data, query)}”.`;
    const from = hover?.query ?? query;
    page.movedTitle.replaceChildren(element("b", {}, `From “${pairWord(data, from)}”`), " · the keys whose weight changes most");
    const rows = movedKeys(data, from, SAID_KEYS).map((one) => movedRow(data, one, shared));
    const head = element("div", { class: "lw-moved-row lw-moved-head" }, element("span", {}, "key"),
      ...MATRICES.flatMap((name) => [element("span", { class: "lw-number" }, name), element("span")]));
    replaceMoved(head, ...rows);
  };
  const column = ({ places_a: places }) => places.indexOf(Math.min(shared.get("position"), Math.max(...places)));
  const view = openView({ model, el, store, shared }, {
    empty: page.empty,
    column,
    begin(data) {
      page.empty.textContent = data?.note || "The chosen head in A and in B appears here.";
      // What is to come takes as much room.
      page.matrices.style.height = `${matrixRowHeight(page.matrices.clientWidth)}px`;
    },
    scene: (data, looks) => ({ data, query: column(data), ...looks }),
    show(scene) {
      row.draw(scene, page.matrices.clientWidth);
      describe(scene);
      twin.changed();
    },
    clear() { page.detail.textContent = ""; },
  });
  /** The query and the key that are pointed at, or stand out; queries are those of the first prompt. */
  const place = () => {
    const { data, query = -1, hover } = view.scene() ?? {};
    if (query < 0) return null;
    const key = hover?.query === query ? hover.key : movedKeys(data, query, 1)[0]?.key ?? query;
    return { query, key, queries: data.words_a.length, keys: data.words_a.length };
  };
  const twin = makeTwin(page.matrices, () => {
    const [at, { data } = {}] = [place(), view.scene() ?? {}];
    const words = at && data.words_a.map((_, one) => pairWord(data, one));
    return at && matrixTable("The chosen head, weights in A and in B", { words, ...at }, (query, key) => pairCell(data, query, key));
  });
  const choose = (at) => { if (at >= 0) shared.set({ position: at }); };
  followMatrix(page.matrices, {
    at: (event) => view.scene() && row.at(event), place, draw: view.draw, point: view.point,
    click: ({ query }) => choose(view.scene().data.places_a[query]),
    choose(to) {
      const { data, query } = view.scene();
      choose(data.places_a[stepQuery(data.places_a, query, to - query)]);
    },
    moved: () => voice.say(() => page.readout.textContent),
  });
  return () => {
    twin.close();
    voice.close();
    view.close();
  };
});
