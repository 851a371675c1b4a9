import { makeArcs, whyNoLines } from "./arc_lines.js";
import { shareTraits } from "./bus.js";
import { approximateNote, makeChooser, roughFact } from "./chosen_matrix.js";
import { readPalette } from "./colour.js";
import { KEYS, choice, element, onFrame, setFacts, watchLook } from "./dom.js";
import { exactPair, makeExactRows, numbersOf, roughNote } from "./exact_rows.js";
import { HEADS_HEIGHT, makeGallery, singleKey } from "./head_gallery.js";
import { exactValue, heatColours, shortValue } from "./heat_cells.js";
import { listenToMatrix, strongest } from "./matrix_keys.js";
import { makeMatrix, raiseWords } from "./pattern_matrix.js";
import { drawnShares, largestShown, rowShares, rowWeights, tileRow } from "./patterns.js";
import { layerNumbers, layersTitle } from "./rows.js";
import { dimStale, isText, withStore } from "./store.js";
import { around, cutText, makeTwin, matrixTable } from "./table_twin.js";
import { makeVoice } from "./voice.js";

const PANEL_HEIGHT = 336;
const TRAITS = ["layers", "layer", "head", "position"];
const OWN_TRAITS = ["show_heads", "hide_first", "can_hide", "quantity", "quantities", "head_note", "arcs"];

/** The page of the view: two canvases with their titles and controls. */
function buildPage(el, shared) {
  const box = (name, kind, label, height = PANEL_HEIGHT) => element("div", { ...KEYS, class: name, tabindex: 0, role: "application", "aria-roledescription": kind, style: `height:${height}px`, "aria-label": label }, element("canvas"));
  const page = {
    gallery: box("lw-gallery", "grid", "All heads of the layers in view: arrow keys choose a head", PANEL_HEIGHT + HEADS_HEIGHT),
    matrix: box("lw-matrix", "matrix", "Attention of the chosen head: up and down choose the query, left and right point at a key"),
    detail: element("span", { class: "lw-detail" }),
    legend: element("span", { class: "lw-legend", hidden: true }),
    head: element("div", { class: "lw-panel-title lw-facts-line" }),
    arcs: box("lw-arcs", "lines", "Attention of the chosen query as lines: up and down choose the query, left and right point at a key, Enter goes to it"),
    arcTitle: element("div", { class: "lw-panel-title lw-facts-line" }),
    noArcs: element("div", { class: "lw-no-arcs" }),
    readout: element("div", { class: "lw-facts" }),
    empty: element("div", { class: "lw-placeholder" }),
    hideFirst: element("input", { ...KEYS, type: "checkbox" }),
    showHeads: choice("What the matrix shows", [["head", "one head"], ["mean", "mean of all in view"], ["max", "max of all in view"]],
      shared.get("show_heads"), (value) => shared.set({ show_heads: value })),
    quantities: choice("What the colours are", [], "", (value) => shared.set({ quantity: value })),
  };
  page.quantities.classList.add("lw-stays");
  page.hideFirst.addEventListener("change", () => shared.set({ hide_first: page.hideFirst.checked }));
  page.arcSide = element("div", { class: "lw-arc-side", hidden: true }, page.arcTitle, page.arcs, page.noArcs);
  el.classList.add("lw", "lw-attention");
  el.append(
    element("div", { class: "lw-bar" }, element("span", { class: "lw-title" }, "Attention heads"), page.detail, page.legend,
      element("label", { class: "lw-check", title: "Leave out the first token, on which most heads rest, and scale the rest of each row to sum to 1" }, page.hideFirst, "hide first token"), page.showHeads),
    element("div", { class: "lw-attention-body" }, element("div", { class: "lw-gallery-side" }, page.gallery, page.empty),
      element("div", { class: "lw-matrix-side" }, page.head, page.matrix, page.readout), page.arcSide));
  return page;
}

/** What the drop-down offers; nothing to choose from, no drop-down. */
function offerQuantities({ quantities: select, legend }, quantities, chosen) {
  if (select.dataset.offered !== quantities.join()) {
    select.replaceChildren(...quantities.map((quantity) => element("option", { value: quantity }, quantity)));
    select.dataset.offered = quantities.join();
  }
  if (quantities.length < 2) select.remove();
  else if (!select.isConnected) legend.after(select);
  select.value = chosen;
}

/** The gallery as a table: where each head looks most from the chosen query, as exact as its picture is. */
export function galleryTable({ data, stack, wanted, held, here, hideInGallery, matrix: { words, keyWords, position } }) {
  const row = Math.max(0, wanted.indexOf(here.layer));
  const [down, across] = [around(row, wanted.length), around(Math.max(0, data.heads.indexOf(here.head)), data.heads.length)];
  const query = Math.floor(position / data.block);
  const look = (layer, head) => {
    if (!held.has(layer)) return "not computed";
    const weights = tileRow(stack, held.get(layer) * data.heads.length + head, query);
    const key = strongest(hideInGallery ? weights.map((weight, place) => (place ? weight : -1)) : weights);
    return `${keyWords[Math.min(keyWords.length - 1, key * data.block)]} ${weights[key].toFixed(2)}`;
  };
  const heads = data.heads.map((head, place) => ({ head, place })).slice(...across);
  return {
    caption: [`Where each head looks most from ${words[position]}`, cutText(down, wanted.length, "rows"), cutText(across, data.heads.length, "heads")].filter(Boolean).join(" · "),
    corner: "layer",
    columns: heads.map(({ head }) => `head ${head}`),
    rows: wanted.slice(...down).map((layer) => ({ name: String(layer), cells: heads.map(({ place }) => look(layer, place)) })),
    here: { row: row - down[0], column: data.heads.indexOf(here.head) - across[0] },
  };
}

export default withStore(({ model, el, store }) => {
  const shared = shareTraits(model, TRAITS, OWN_TRAITS);
  const page = buildPage(el, shared);
  const gallery = makeGallery(page.gallery.firstChild, PANEL_HEIGHT);
  const matrix = makeMatrix(page.matrix.firstChild);
  const arcs = makeArcs(page.arcs.firstChild);
  const choose = makeChooser(shared);
  let palette = null;
  let scene = null;
  let hoverHead = null;
  let hoverCell = null;

  const readoutWords = () => page.head.textContent && `${page.head.textContent}: ${page.readout.textContent}`;
  const voice = makeVoice(shared, el, { news: readoutWords });
  const sayReadout = () => voice.say(readoutWords);
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
      setFacts(page.detail, []);
      page.head.textContent = page.readout.textContent = "";
      return;
    }
    gallery.draw(scene);
    raiseWords(page.readout, matrix.draw(scene.matrix, page.matrix));
    drawArcs(scene.matrix);
    describe(scene);
    twins.forEach((twin) => twin.changed());
    el.dataset.revision = data.revision;
    el.dataset.prompt = data.prompt ?? "";
  });
  const numbers = makeExactRows(model, draw);
  const makeScene = (data) => {
    palette = readPalette(el, palette);
    const one = shared.get("show_heads") === "head";
    const made = {
      data,
      palette,
      stack: {
        size: data.size, keys: Math.ceil(data.n_keys / data.block), causal: data.causal, limit: data.unit ? data.limit : 0,
        count: data.layers.length * data.heads.length, roots: data.roots.data,
      },
      // In an explorer, layers that are dragged into view are computed on release; a view alone has what it has.
      wanted: layerNumbers(shared.get("layers")).filter((layer) => (data.prompt === null ? data.layers : data.attention_layers).includes(layer)).reverse(),
      held: new Map(data.layers.map((layer, row) => [layer, row])),
      hideFirst: shared.get("hide_first") && data.n_pos > 1,
      // Pooled matrices come masked from the kernel: here, a first block would be more than the first token.
      hideInGallery: shared.get("hide_first") && data.n_pos > 1 && data.size === data.n_pos && !data.unit,
      here: { layer: shared.get("layer"), head: one ? shared.get("head") : null },
      hover: hoverHead,
    };
    const chosen = choose(made);
    const scale = chosen?.block ?? data.block;
    // Lengths differ from layer to layer: the matrix has a scale of its own, and says so.
    if (chosen && data.unit) {
      const shown = made.hideFirst && scale === 1;
      chosen.limits ??= [];
      chosen.limit = chosen.limits[Number(shown)] ??= largestShown(chosen, shown) || 1;
    }
    made.matrix = {
      chosen, scale, palette, hideFirst: made.hideFirst && scale === 1,
      words: data.prompt_visible, keyWords: data.key_visible,
      position: Math.min(shared.get("position"), data.n_pos - 1), hover: hoverCell,
    };
    made.matrix.pair = pairOf(made);
    return made;
  };
  /** What is known exactly of the cell that is pointed at, or of the chosen query, where there are only colours. */
  const pairOf = ({ data, hideFirst, matrix: { chosen, scale, position } }) => {
    if (!chosen?.rough) return null;
    const rows = numbers.of(data, hoverCell ? hoverCell.query : Math.floor(position / scale));
    const pair = rows && exactPair(rows, hoverCell, position, scale, (row) => drawnShares(row, chosen.limit, hideFirst));
    return pair && { ...pair, first: numbersOf(rows, pair.query)[0] };
  };
  const describe = ({ data, wanted, held, hideFirst, matrix: { chosen, position } }) => {
    const missing = wanted.filter((layer) => !held.has(layer)).length;
    const rest = data.unit ? `first token hidden${data.first_share === null ? "" : ` (${(100 * data.first_share).toFixed(0)} % of a row)`}` : "first token hidden, rest scaled to 1";
    const hidden = hideFirst ? rest : "";
    const scale = singleKey(data) ? ["one token: its weight is 1 in all heads"] : data.unit ? [hidden, "√ scale"] : ["√ scale", hidden];
    setFacts(page.detail, [
      data.quantity, wanted.length ? layersTitle([...wanted].reverse()) : "no layer with attention", missing ? `${missing} not computed` : "", ...scale,
      data.size < data.n_pos ? `largest of ${data.block} × ${data.block} cells` : "", "last layer on top",
    ]);
    legend(data);
    const one = shared.get("show_heads") === "head";
    const shared_ = one && data.grouped && data.heads.includes(shared.get("head")) ? ` (kv head ${data.kv_heads[data.heads.indexOf(shared.get("head"))]})` : "";
    const shownLayers = wanted.filter((layer) => held.has(layer)).reverse();
    const what = one ? `layer ${shared.get("layer")} · head ${shared.get("head")}` : `${shared.get("show_heads")} of ${layersTitle(shownLayers)}, all heads`;
    const [layer, head, note] = shared.get("head_note") ?? [];
    const named = note && one && layer === shared.get("layer") && head === shared.get("head");
    page.head.replaceChildren(element("b", {}, what), ...[named ? ` · ${note}` : shared_, ` · from “${data.prompt_visible[position]}”`].filter(Boolean).map((said) => element("span", {}, said)));
    page.readout.textContent = chosen ? say(scene.matrix) : "";
  };
  const written = (number) => (scene.data.unit ? `${exactValue(number)} ${scene.data.unit}` : number.toFixed(3));
  /** The same, of a pair of tokens whose number has come from the kernel. */
  const sayPair = ({ chosen, scale, words, keyWords, pair }) => {
    const { unit, causal } = scene.data;
    if (scene.hideFirst && pair.query === 0 && causal && !hoverCell) return "The first query sees only the first token, which is hidden.";
    if (scene.hideFirst && !pair.share && !hoverCell) return "All weight rests on the first token, which is hidden.";
    const whose = hoverCell && scale > 1 && pair.share ? ` (largest of ${scale} × ${scale} tokens)` : "";
    const sink = scene.hideFirst ? ` · hidden on the first token: ${written(pair.first)}` : "";
    const scaled = unit ? ` · colours to ${shortValue(chosen.limit, 3)} ${unit}` : "";
    const note = hoverCell ? "" : ` · ${model.get("recorded") ? noteOf(chosen) : roughFact(scale)}`;
    return `${hoverCell ? "" : "strongest: "}“${words[pair.query]}” → “${keyWords[pair.key]}” ${written(pair.number)}${whose}${sink}${scaled}${note}`;
  };
  const drawArcs = (drawn) => {
    page.arcSide.hidden = !shared.get("arcs");
    el.classList.toggle("lw-with-arcs", !page.arcSide.hidden);
    if (page.arcSide.hidden) return;
    const { words, keyWords, hover, position } = drawn;
    page.noArcs.textContent = whyNoLines(words.length, keyWords.length);
    page.noArcs.hidden = !page.noArcs.textContent;
    page.arcs.hidden = !page.noArcs.hidden;
    const query = hover && drawn.scale === 1 ? hover.query : position;
    const said = page.arcs.hidden ? [] : [` · from “${words[query]}”`, ` · width by ${store.data.unit ? "length" : "weight"}`];
    page.arcTitle.replaceChildren(element("b", {}, "Lines"), ...said.map((words_) => element("span", {}, words_)));
    if (page.arcs.hidden) arcs.forget();
    else arcs.draw(drawn, page.arcs);
  };
  const legend = ({ unit, limit }) => {
    page.legend.hidden = !unit;
    if (!unit) return;
    const ramp = `linear-gradient(to right, ${heatColours({ kind: "one-sided" }, palette).join(",")})`;
    page.legend.title = "Length of what a head reads, in units of the raw attention output; square-root scale, the same for all small pictures";
    page.legend.replaceChildren(element("span", {}, "0"), element("span", { class: "lw-ramp", style: `background:${ramp}` }), element("span", {}, `${shortValue(limit, 3)} ${unit}`));
  };
  /** One line of truth: the weight under the pointer, else the strongest key of the selected query. */
  const say = (drawn) => {
    if (drawn.pair) return sayPair(drawn);
    const { chosen, scale, position, words, keyWords, hideFirst } = drawn;
    const query = hoverCell ? hoverCell.query : Math.floor(position / scale);
    if (hideFirst && query === 0 && scene.data.causal) return "The first query sees only the first token, which is hidden.";
    const shares = rowShares(chosen, query, hideFirst);
    const largest = shares.reduce((best, share, key) => (share > shares[best] ? key : best), 0);
    const key = hoverCell ? hoverCell.key : largest;
    if (!hoverCell && hideFirst && !shares[key]) return "All weight rests on the first token, which is hidden.";
    const word = (slot, all = words) => `“${all[Math.min(all.length - 1, slot * scale)]}”`;
    const weights = rowWeights(chosen, query);
    // A causal query gives nothing to what comes after it.
    const { unit } = scene.data;
    const value = (slot) => (chosen.exact ? written(weights[slot] ?? 0) : `≈ ${(weights[slot] ?? 0).toFixed(2)}`);
    const whose = scale > 1 ? ` ${scene.hideFirst ? "of what is not on the first token " : ""}(largest of the pooled cells)` : "";
    // Of lengths, colours come masked from the kernel.
    const sink = hideFirst && !(chosen.rough && unit) ? ` · hidden on the first token: ${value(0)}` : "";
    const scaled = unit ? ` · colours to ${shortValue(chosen.limit, 3)} ${unit}` : "";
    const note = model.get("recorded") && !chosen.exact ? ` · ${noteOf(chosen)}` : "";
    return `${hoverCell ? "" : "strongest: "}${word(query)} → ${word(key, keyWords)} ${value(key)}${whose}${sink}${scaled}${note}`;
  };

  const noteOf = ({ rough }) => {
    const { focus_key: focus, focus_block: count, row_first: first, prompt_visible: words, steps } = scene.data;
    return rough ? roughNote(words, { first, count }) : approximateNote(count ? "" : focus, Boolean(steps));
  };
  /** The number of a cell in the table, as exact as it is known. */
  const cellText = ({ chosen, scale }, query, key) => {
    const number = rowWeights(chosen, query)[key];
    if (number === undefined || chosen.exact) return number?.toFixed(3) ?? "";
    const rows = chosen.rough && numbers.held(scene.data, query);
    return rows ? exactPair(rows, { key }, rows.first, scale, (row) => drawnShares(row, chosen.limit, scene.hideFirst)).number.toFixed(3) : `≈ ${number.toFixed(2)}`;
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
  follow(page.arcs, (event) => {
    const found = arcs.at(event);
    return found?.key === undefined ? null : { query: scene.matrix.position, key: found.key };
  }, (found) => found?.key === hoverCell?.key && found?.query === hoverCell?.query, (found) => {
    hoverCell = found;
    draw();
  });
  page.arcs.addEventListener("click", (event) => {
    const found = scene && arcs.at(event);
    if (found) shared.set({ position: Math.min(scene.data.n_pos - 1, found.query ?? found.key) });
  });
  /** The query and the key that are pointed at, or stand out, in cells of the matrix. */
  const place = () => {
    const { chosen, scale, position, hideFirst } = scene?.matrix ?? {};
    if (!chosen) return null;
    const query = Math.floor(position / scale);
    const shares = rowShares(chosen, query, hideFirst);
    const key = hoverCell?.query === query ? hoverCell.key : strongest(shares);
    return { query, key, queries: chosen.size, keys: shares.length };
  };
  const twins = [
    makeTwin(page.gallery, () => scene && galleryTable(scene)),
    makeTwin(page.matrix, () => {
      const at = place();
      if (!at) return null;
      const { chosen, scale, words, keyWords } = scene.matrix;
      const pooled = (all, count) => Array.from({ length: count }, (_, slot) => all[slot * scale]);
      const [down, across] = [pooled(words, at.queries), pooled(keyWords, chosen.keys ?? chosen.size)];
      return matrixTable(page.head.textContent, { words: down, keyWords: across, ...at }, (query, key) => cellText(scene.matrix, query, key));
    }),
  ];
  const point = (found) => {
    if (found?.key === hoverCell?.key && found?.query === hoverCell?.query) return;
    hoverCell = found;
    draw();
  };
  const chooseQuery = (slot) => shared.set({ position: Math.min(scene.data.n_pos - 1, slot * scene.matrix.scale) });
  listenToMatrix(page.matrix, { place, draw, choose: chooseQuery, point, moved: sayReadout });
  listenToMatrix(page.arcs, { place, draw, choose: chooseQuery, point, moved: sayReadout, follow: chooseQuery });
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
  const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0], Home: [0, -1e6], End: [0, 1e6], PageUp: [-1e6, 0], PageDown: [1e6, 0] };
  onKeys(page.gallery, steps, ([down, right]) => {
    const { wanted, data: { heads } } = scene;
    const row = within(Math.max(0, wanted.indexOf(shared.get("layer"))) + down, wanted.length);
    const head = within(Math.max(0, heads.indexOf(shared.get("head"))) + right, heads.length);
    shared.set({ layer: wanted[row], head: heads[head], show_heads: "head" });
    gallery.reveal(row, head);
    sayReadout();
  });

  const onTraits = (name) => {
    // Typing changes nothing in the picture until its answer is there.
    if (isText(name)) {
      dim();
      return;
    }
    offerQuantities(page, shared.get("quantities") ?? [], shared.get("quantity"));
    page.showHeads.value = shared.get("show_heads");
    page.hideFirst.checked = shared.get("hide_first");
    page.hideFirst.parentElement.hidden = shared.get("can_hide") === false;
    draw();
  };
  shared.listen(onTraits);
  const off = [store.listen(() => { hoverHead = hoverCell = null; draw(); }), watchLook(el, draw)];
  onTraits();
  return () => {
    off.forEach((stop) => stop());
    draw.cancel();
    twins.forEach((twin) => twin.close());
    voice.close();
    numbers.close();
    shared.close();
  };
});
