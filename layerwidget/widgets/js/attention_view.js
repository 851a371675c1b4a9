import { shareTraits } from "./bus.js";
import { readPalette } from "./colour.js";
import { KEYS, choice, element, onFrame, watchLook } from "./dom.js";
import { makeGallery } from "./head_gallery.js";
import { makeMatrix } from "./pattern_matrix.js";
import { blend, rowShares, rowWeights } from "./patterns.js";
import { layerNumbers, layersTitle } from "./rows.js";
import { dimStale, withStore } from "./store.js";

const PANEL_HEIGHT = 336;
const TRAITS = ["layers", "layer", "head", "position", "show_heads", "hide_first"];

/** The page of the view: two canvases with their titles and controls. */
function buildPage(el, shared) {
  const box = (name, label) => element("div", { ...KEYS, class: name, tabindex: 0, role: "group", style: `height:${PANEL_HEIGHT}px`, "aria-label": label }, element("canvas"));
  const page = {
    gallery: box("lw-gallery", "All heads of the layers in view: arrow keys choose a head"),
    matrix: box("lw-matrix", "Attention of the chosen head: up and down choose the query"),
    detail: element("span", { class: "lw-detail" }),
    head: element("div", { class: "lw-panel-title" }),
    readout: element("div", { class: "lw-facts", role: "status" }),
    empty: element("div", { class: "lw-placeholder" }),
    hideFirst: element("input", { ...KEYS, type: "checkbox" }),
    showHeads: choice("What the matrix shows", [["head", "one head"], ["mean", "mean of all in view"], ["max", "max of all in view"]],
      shared.get("show_heads"), (value) => shared.set({ show_heads: value })),
  };
  page.hideFirst.addEventListener("change", () => shared.set({ hide_first: page.hideFirst.checked }));
  el.classList.add("lw", "lw-attention");
  el.append(
    element("div", { class: "lw-bar" }, element("span", { class: "lw-title" }, "Attention heads"), page.detail,
      element("label", { class: "lw-check", title: "Leave out the first token, on which most heads rest, and scale the rest of each row to sum to 1" }, page.hideFirst, "hide first token"), page.showHeads),
    element("div", { class: "lw-attention-body" }, element("div", { class: "lw-gallery-side" }, page.gallery, page.empty),
      element("div", { class: "lw-matrix-side" }, page.head, page.matrix, page.readout)));
  return page;
}

/** The matrix on the right: one head, or the mean or maximum of the layers in view; null where none of it is held. */
function makeChooser(shared) {
  let kept = { key: "" };
  const chosen = ({ data, wanted, held }, how) => {
    const [layers, heads] = how === "head" ? [[shared.get("layer")], [shared.get("head")]] : [wanted, data.heads];
    const columns = heads.map((head) => data.heads.indexOf(head)).filter((column) => column >= 0);
    return layers.filter((layer) => held.has(layer)).flatMap((layer) => columns.map((column) => held.get(layer) * data.heads.length + column));
  };
  return (made) => {
    const { data, stack } = made;
    const how = shared.get("show_heads");
    const focus = how === "head" ? `${shared.get("layer")}.${shared.get("head")}` : `${how}.${shared.get("layers")}`;
    const exact = data.focus_key === focus;
    const key = `${data.revision}|${focus}|${exact}`;
    if (kept.key === key) return kept.matrix;
    const matrices = exact ? [] : chosen(made, how);
    // The kernel hears of every choice and sends its numbers; until they are here, the gallery's colours stand in.
    const standIn = matrices.length ? blend(stack, matrices, how) : null;
    kept = { key, matrix: exact ? { size: data.n_pos, causal: data.causal, weights: data.focus.data, exact } : standIn };
    return kept.matrix;
  };
}

export default withStore(({ model, el, store }) => {
  const shared = shareTraits(model, TRAITS);
  const page = buildPage(el, shared);
  const gallery = makeGallery(page.gallery.firstChild, PANEL_HEIGHT);
  const matrix = makeMatrix(page.matrix.firstChild, PANEL_HEIGHT);
  const choose = makeChooser(shared);
  let palette = null;
  let scene = null;
  let hoverHead = null;
  let hoverCell = null;

  const dim = () => dimStale(el, shared, store.data);
  const draw = onFrame(() => {
    const { data } = store;
    const ready = Boolean(data?.layers.length);
    page.empty.hidden = ready;
    page.empty.textContent = data?.note || "Where every head looks appears here.";
    el.classList.toggle("lw-blank", !ready);
    dim();
    el.classList.toggle("lw-ready", ready);
    scene = ready ? makeScene(data) : null;
    if (!scene) {
      page.detail.textContent = page.head.textContent = page.readout.textContent = "";
      return;
    }
    gallery.draw(scene);
    matrix.draw(scene.matrix, page.matrix.clientWidth);
    describe(scene);
    el.dataset.revision = data.revision;
    el.dataset.prompt = data.prompt ?? "";
  });
  const makeScene = (data) => {
    palette = readPalette(el, palette);
    const one = shared.get("show_heads") === "head";
    const made = {
      data,
      palette,
      stack: { size: data.size, causal: data.causal, count: data.layers.length * data.heads.length, roots: data.roots.data },
      // In an explorer, layers that are dragged into view are computed on release; a view alone has what it has.
      wanted: layerNumbers(shared.get("layers")).filter((layer) => (data.prompt === null ? data.layers : data.attention_layers).includes(layer)).reverse(),
      held: new Map(data.layers.map((layer, row) => [layer, row])),
      hideFirst: shared.get("hide_first") && data.n_pos > 1,
      // Pooled matrices come masked from the kernel: here, a first block would be more than the first token.
      hideInGallery: shared.get("hide_first") && data.n_pos > 1 && data.size === data.n_pos,
      here: { layer: shared.get("layer"), head: one ? shared.get("head") : null },
      hover: hoverHead,
    };
    const chosen = choose(made);
    const scale = chosen?.size === data.n_pos ? 1 : data.block;
    made.matrix = {
      chosen, scale, palette, hideFirst: made.hideFirst && scale === 1, words: data.prompt_visible,
      position: Math.min(shared.get("position"), data.n_pos - 1), hover: hoverCell,
    };
    return made;
  };
  const describe = ({ data, wanted, held, hideFirst, matrix: { chosen, position } }) => {
    const missing = wanted.filter((layer) => !held.has(layer)).length;
    page.detail.textContent = [
      "", wanted.length ? layersTitle([...wanted].reverse()) : "no layer with attention", "square-root scale",
      hideFirst ? "first token hidden, rest scaled to 1" : "", data.size < data.n_pos ? `largest of ${data.block} × ${data.block} cells` : "",
      missing ? `${missing} not computed` : "",
    ].filter((part, index) => !index || part).join(" · ");
    const one = shared.get("show_heads") === "head";
    const shared_ = one && data.grouped && data.heads.includes(shared.get("head")) ? ` (kv head ${data.kv_heads[data.heads.indexOf(shared.get("head"))]})` : "";
    const shownLayers = wanted.filter((layer) => held.has(layer)).reverse();
    const what = one ? `layer ${shared.get("layer")} · head ${shared.get("head")}` : `${shared.get("show_heads")} of ${layersTitle(shownLayers)}, all heads`;
    page.head.replaceChildren(element("b", {}, what), `${shared_} · from “${data.prompt_visible[position]}”`);
    page.readout.textContent = chosen ? say(scene.matrix) : "";
  };
  /** One line of truth: the weight under the pointer, else the strongest key of the selected query. */
  const say = ({ chosen, scale, position, words, hideFirst }) => {
    const query = hoverCell ? hoverCell.query : Math.floor(position / scale);
    if (hideFirst && query === 0) return "The first query sees only the first token, which is hidden.";
    const shares = rowShares(chosen, query, hideFirst);
    const largest = shares.reduce((best, share, key) => (share > shares[best] ? key : best), 0);
    const key = hoverCell ? hoverCell.key : largest;
    if (!hoverCell && hideFirst && !shares[key]) return "All weight rests on the first token, which is hidden.";
    const word = (slot) => `“${words[Math.min(words.length - 1, slot * scale)]}”`;
    const weights = rowWeights(chosen, query);
    // A causal query gives nothing to what comes after it.
    const value = (slot) => (chosen.exact ? (weights[slot] ?? 0).toFixed(3) : `≈ ${(weights[slot] ?? 0).toFixed(2)}`);
    const whose = scale > 1 ? ` ${scene.hideFirst ? "of what is not on the first token " : ""}(largest of the pooled cells)` : "";
    const sink = hideFirst ? ` · hidden on the first token: ${value(0)}` : "";
    return `${hoverCell ? "" : "strongest: "}${word(query)} → ${word(key)} ${value(key)}${whose}${sink}`;
  };

  const follow = (node, at, same, moved) => {
    node.addEventListener("pointermove", (event) => {
      const found = scene && at(event);
      if (!same(found)) moved(found);
    });
    node.addEventListener("pointerleave", () => moved(null));
  };
  follow(page.gallery, (event) => gallery.at(event, scene), (found) => found?.layer === hoverHead?.layer && found?.head === hoverHead?.head, (found) => {
    hoverHead = found;
    page.gallery.title = found ? `layer ${found.layer}, head ${found.head}` : "";
    draw();
  });
  follow(page.matrix, (event) => matrix.at(event), (found) => found?.key === hoverCell?.key && found?.query === hoverCell?.query, (found) => {
    hoverCell = found;
    draw();
  });
  page.gallery.addEventListener("scroll", draw);
  page.gallery.addEventListener("click", (event) => {
    const found = scene && gallery.at(event, scene);
    if (found) shared.set({ ...found, show_heads: "head" });
  });
  page.matrix.addEventListener("click", (event) => {
    const found = matrix.at(event);
    if (found) shared.set({ position: Math.min(scene.data.n_pos - 1, found.query * scene.matrix.scale) });
  });
  const onKeys = (node, steps, moved) => node.addEventListener("keydown", (event) => {
    if (!(event.key in steps) || !scene) return;
    event.preventDefault();
    event.stopPropagation();
    moved(steps[event.key]);
  });
  const within = (value, count) => Math.min(count - 1, Math.max(0, value));
  onKeys(page.gallery, { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }, ([down, right]) => {
    const { wanted, data: { heads } } = scene;
    const row = within(Math.max(0, wanted.indexOf(shared.get("layer"))) + down, wanted.length);
    const head = within(Math.max(0, heads.indexOf(shared.get("head"))) + right, heads.length);
    shared.set({ layer: wanted[row], head: heads[head], show_heads: "head" });
  });
  onKeys(page.matrix, { ArrowUp: -1, ArrowDown: 1, ArrowLeft: -1, ArrowRight: 1 }, (step) => {
    shared.set({ position: within(shared.get("position") + step, scene.data.n_pos) });
  });

  const onTraits = (name) => {
    // Typing changes nothing in the picture until its answer is there.
    if (name === "prompt") {
      dim();
      return;
    }
    page.showHeads.value = shared.get("show_heads");
    page.hideFirst.checked = shared.get("hide_first");
    draw();
  };
  shared.listen(onTraits);
  const off = [store.listen(() => { hoverHead = hoverCell = null; draw(); }), watchLook(el, draw)];
  onTraits();
  return () => {
    off.forEach((stop) => stop());
    draw.cancel();
    shared.close();
  };
});
