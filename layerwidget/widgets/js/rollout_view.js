// Attention through all layers of a range as one matrix: which token has to do with which.

import { shareTraits } from "./bus.js";
import { readPalette } from "./colour.js";
import { KEYS, element, onFrame, setFacts, watchLook } from "./dom.js";
import { listenToMatrix, strongest } from "./matrix_keys.js";
import { makeMatrix, raiseWords } from "./pattern_matrix.js";
import { rowWeights } from "./patterns.js";
import { layerNumbers, layersTitle } from "./rows.js";
import { dimStale, isText, withStore } from "./store.js";
import { makeTwin, matrixTable } from "./table_twin.js";
import { makeVoice } from "./voice.js";

const ROLLOUT_HEIGHT = 336;

/** One line of truth: the share under the pointer, else the token from which most of the selected one comes. */
export function rolloutText({ matrix, words, position, hover }) {
  const query = hover ? hover.query : position;
  const weights = rowWeights(matrix, query);
  const key = hover ? hover.key : weights.reduce((best, weight, place) => (weight > weights[best] ? place : best), 0);
  if (!hover && !weights[key]) return `“${words[query]}” looks at nothing but the first token, which is left out.`;
  return `${hover ? "" : "most: "}“${words[query]}” from “${words[key]}” ${(weights[key] ?? 0).toFixed(3)}`;
}

/** What is said above the matrix: in a page that cannot compute it for other layers, whether it is about those in view. */
export function rolloutNote({ layers, note }, recorded, inView) {
  if (recorded !== undefined && String(layerNumbers(recorded)) !== String(layerNumbers(inView))) {
    return `Recorded for ${layersTitle(layers)}: it stays there, while other layers are in view.`;
  }
  return note || "Each row sums to 1.";
}

function buildRolloutPage(el, shared) {
  const page = {
    detail: element("span", { class: "lw-detail" }),
    note: element("div", { class: "lw-panel-title" }),
    readout: element("div", { class: "lw-facts" }),
    empty: element("div", { class: "lw-placeholder" }),
    hideFirst: element("input", { ...KEYS, type: "checkbox" }),
    matrix: element("div", {
      ...KEYS, class: "lw-matrix", tabindex: 0, role: "application", "aria-roledescription": "matrix", style: `height:${ROLLOUT_HEIGHT}px`,
      "aria-label": "Attention rollout: up and down choose the query, left and right point at a key",
    }, element("canvas")),
  };
  page.hideFirst.addEventListener("change", () => shared.set({ hide_first: page.hideFirst.checked }));
  page.check = element("label", { class: "lw-check lw-stays", title: "Take attention to the first token out of every layer, and scale the rest of each row to sum to 1" }, page.hideFirst, "without first");
  el.classList.add("lw", "lw-rollout");
  el.append(
    element("div", { class: "lw-bar" }, element("span", { class: "lw-title" }, "Rollout"), page.detail, page.check),
    element("div", { class: "lw-rollout-body" }, element("div", { class: "lw-matrix-side" }, page.note, page.matrix, page.readout), page.empty));
  return page;
}

export default withStore(({ model, el, store }) => {
  const shared = shareTraits(model, ["layers", "position"], ["hide_first", "can_hide"]);
  const page = buildRolloutPage(el, shared);
  const matrix = makeMatrix(page.matrix.firstChild);
  let palette = null;
  let scene = null;
  let hover = null;

  const voice = makeVoice(shared, el);
  /** The query and the key that are pointed at, or stand out. */
  const place = () => {
    if (!scene) return null;
    const weights = rowWeights(scene.matrix, scene.position);
    const key = hover?.query === scene.position ? hover.key : strongest(weights);
    return { query: scene.position, key, queries: scene.words.length, keys: weights.length };
  };
  const twin = makeTwin(page.matrix, () => scene && matrixTable("Rollout", { words: scene.words, ...place() }, (query, key) => {
    const weight = rowWeights(scene.matrix, query)[key];
    return weight === undefined ? "" : weight.toFixed(3);
  }));
  const dim = () => dimStale(el, shared, store.data);
  const makeScene = (data) => ({
    matrix: data.drawn ??= { size: data.n_pos, causal: data.causal, weights: data.rollout.data, exact: true },
    words: data.prompt_visible, position: Math.min(shared.get("position"), data.n_pos - 1), hover,
  });
  const draw = onFrame(() => {
    const { data } = store;
    const ready = Boolean(data?.layers.length);
    page.empty.hidden = ready;
    page.empty.textContent = data?.note || "Attention through all layers of the range appears here.";
    page.check.hidden = !shared.get("can_hide");
    page.hideFirst.checked = shared.get("hide_first");
    el.classList.toggle("lw-blank", !ready);
    el.classList.toggle("lw-ready", ready);
    dim();
    scene = ready ? makeScene(data) : null;
    setFacts(page.detail, scene ? [layersTitle(data.layers), "√ scale"] : []);
    page.note.textContent = scene ? rolloutNote(data, model.get("recorded"), shared.get("layers")) : "";
    page.readout.textContent = scene ? rolloutText(scene) : "";
    if (!scene) return;
    palette = readPalette(el, palette);
    const left = matrix.draw({ ...scene, chosen: scene.matrix, scale: 1, palette, hideFirst: false }, page.matrix);
    raiseWords(page.readout, left);
    twin.changed();
    el.dataset.revision = data.revision;
    el.dataset.prompt = data.prompt ?? "";
  });
  const enter = (found) => {
    if (found?.key === hover?.key && found?.query === hover?.query) return;
    hover = found;
    draw();
  };
  page.matrix.addEventListener("pointermove", (event) => enter(scene && matrix.at(event)));
  page.matrix.addEventListener("pointerleave", () => enter(null));
  page.matrix.addEventListener("click", (event) => {
    const found = scene && matrix.at(event);
    if (found) shared.set({ position: found.query });
  });
  listenToMatrix(page.matrix, {
    place, draw, point: enter, choose: (position) => shared.set({ position }), moved: () => voice.say(() => page.readout.textContent),
  });
  shared.listen((name) => (isText(name) ? dim() : draw()));
  const off = [store.listen(() => { hover = null; draw(); }), watchLook(el, draw)];
  draw();
  return () => {
    off.forEach((stop) => stop());
    draw.cancel();
    twin.close();
    voice.close();
    shared.close();
  };
});
