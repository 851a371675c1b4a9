// Attention rollout: from which tokens each one comes, through all layers of the range.

import { shareTraits } from "./bus.js";
import { KEYS, element, setFacts } from "./dom.js";
import { openView } from "./drawn_view.js";
import { followMatrix, strongest } from "./matrix_keys.js";
import { makeMatrix, raiseWords } from "./pattern_matrix.js";
import { rowWeights } from "./patterns.js";
import { layerNumbers, layersTitle } from "./rows.js";
import { withStore } from "./store.js";
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
  const voice = makeVoice(shared, el);

  const position = ({ n_pos }) => Math.min(shared.get("position"), n_pos - 1);
  const view = openView({ model, el, store, shared }, {
    empty: page.empty,
    column: position,
    begin(data) {
      page.empty.textContent = data?.note || "Attention through all layers of the range appears here.";
      page.check.hidden = !shared.get("can_hide");
      page.hideFirst.checked = shared.get("hide_first");
    },
    scene: (data, { palette, hover }) => ({
      data, palette, hover, words: data.prompt_visible, position: position(data),
      matrix: data.drawn ??= { size: data.n_pos, causal: data.causal, weights: data.rollout.data, exact: true },
    }),
    show(scene) {
      setFacts(page.detail, [layersTitle(scene.data.layers), "√ scale"]);
      page.note.textContent = rolloutNote(scene.data, model.get("recorded"), shared.get("layers"));
      page.readout.textContent = rolloutText(scene);
      const left = matrix.draw({ ...scene, chosen: scene.matrix, scale: 1, hideFirst: false }, page.matrix);
      raiseWords(page.readout, left);
      twin.changed();
    },
    clear() {
      setFacts(page.detail, []);
      page.note.textContent = page.readout.textContent = "";
    },
  });
  /** The query and the key that are pointed at, or stand out. */
  const place = () => {
    const scene = view.scene();
    if (!scene) return null;
    const weights = rowWeights(scene.matrix, scene.position);
    const key = view.hover()?.query === scene.position ? view.hover().key : strongest(weights);
    return { query: scene.position, key, queries: scene.words.length, keys: weights.length };
  };
  const twin = makeTwin(page.matrix, () => view.scene() && matrixTable("Rollout", { words: view.scene().words, ...place() }, (query, key) => {
    const weight = rowWeights(view.scene().matrix, query)[key];
    return weight === undefined ? "" : weight.toFixed(3);
  }));
  followMatrix(page.matrix, {
    at: (event) => view.scene() && matrix.at(event), place, draw: view.draw, point: view.point,
    choose: (query) => shared.set({ position: query }),
    moved: () => voice.say(() => page.readout.textContent),
  });
  return () => {
    twin.close();
    voice.close();
    view.close();
  };
});
