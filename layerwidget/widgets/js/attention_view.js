// A gallery of all heads in view, the matrix of the chosen one, and its lines.

import { makeArcs } from "./arc_lines.js";
import { PANEL_HEIGHT, attentionPanels, showArcs, showControls, showLegend } from "./attention_panels.js";
import { attentionScene, chosenQuery } from "./attention_scene.js";
import { galleryFacts, galleryTable, matrixCellText, matrixTitle, readoutText } from "./attention_words.js";
import { shareTraits } from "./bus.js";
import { makeChooser } from "./chosen_matrix.js";
import { readPalette } from "./colour.js";
import { element, onFrame, setFacts, watchLook } from "./dom.js";
import { makeExactRows } from "./exact_rows.js";
import { makeGallery } from "./head_gallery.js";
import { listenToMatrix, strongest } from "./matrix_keys.js";
import { makeMatrix, raiseWords } from "./pattern_matrix.js";
import { rowShares } from "./patterns.js";
import { dimStale, isText, withStore } from "./store.js";
import { makeTwin, matrixTable } from "./table_twin.js";
import { makeVoice } from "./voice.js";

const TRAITS = ["layers", "layer", "head", "position"];
const OWN_TRAITS = ["show_heads", "hide_first", "can_hide", "quantity", "quantities", "head_note", "arcs"];
/** What keys choose in the gallery: so many rows down, and heads to the right. */
const HEAD_STEPS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0], Home: [0, -1e6], End: [0, 1e6], PageUp: [-1e6, 0], PageDown: [1e6, 0] };

export default withStore(({ model, el, store }) => {
  const shared = shareTraits(model, TRAITS, OWN_TRAITS);
  const page = attentionPanels(el, shared);
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

  // What is drawn

  const draw = onFrame(() => {
    const { data } = store;
    const ready = Boolean(data?.layers.length);
    page.empty.hidden = ready;
    page.empty.textContent = data?.note || "Where every head looks appears here.";
    el.classList.toggle("lw-blank", !ready);
    dim();
    el.classList.toggle("lw-ready", ready);
    if (!ready) {
      scene = null;
      setFacts(page.detail, []);
      page.head.textContent = page.readout.textContent = "";
      return;
    }
    palette = readPalette(el, palette);
    scene = attentionScene({ data, shared, palette, recorded: model.get("recorded"), choose, exactRows, hoverHead, hoverCell });
    gallery.draw(scene);
    raiseWords(page.readout, matrix.draw(scene.matrix, page.matrix));
    showArcs(page, el, arcs, scene, Boolean(shared.get("arcs")));
    describe();
    twins.forEach((twin) => twin.changed());
    el.dataset.revision = data.revision;
    el.dataset.prompt = data.prompt ?? "";
  });
  const exactRows = makeExactRows(model, draw);
  const describe = () => {
    setFacts(page.detail, galleryFacts(scene));
    showLegend(page, scene);
    const { what, facts } = matrixTitle(scene);
    page.head.replaceChildren(element("b", {}, what), ...facts.map((fact) => element("span", {}, fact)));
    page.readout.textContent = readoutText(scene);
  };
  /** The query and the key that are pointed at, or stand out, in cells of the matrix. */
  const place = () => {
    const { chosen, scale, position, hideFirst } = scene?.matrix ?? {};
    if (!chosen) return null;
    const query = Math.floor(position / scale);
    const shares = rowShares(chosen, query, hideFirst);
    const key = hoverCell?.query === query ? hoverCell.key : strongest(shares);
    return { query, key, queries: chosen.size, keys: shares.length };
  };
  const matrixTwin = () => {
    const at = place();
    if (!at) return null;
    const { chosen, scale, words, keyWords } = scene.matrix;
    const pooled = (all, count) => Array.from({ length: count }, (_, slot) => all[slot * scale]);
    const [down, across] = [pooled(words, at.queries), pooled(keyWords, chosen.keys ?? chosen.size)];
    return matrixTable(page.head.textContent, { words: down, keyWords: across, ...at }, (query, key) => matrixCellText(scene, exactRows, query, key));
  };
  const twins = [makeTwin(page.gallery, () => scene && galleryTable(scene)), makeTwin(page.matrix, matrixTwin)];

  // What is pointed at and chosen

  const pointAtHead = (found) => {
    if (found?.layer === hoverHead?.layer && found?.head === hoverHead?.head) return;
    hoverHead = found;
    page.gallery.title = found ? `layer ${found.layer}, head ${found.head}` : "";
    draw();
  };
  const pointAtCell = (found) => {
    if (found?.key === hoverCell?.key && found?.query === hoverCell?.query) return;
    hoverCell = found;
    draw();
  };
  const arcKey = (event) => {
    const found = arcs.at(event);
    return found?.key === undefined ? null : { query: scene.matrix.position, key: found.key };
  };
  const follow = (node, at, point) => {
    node.addEventListener("pointermove", (event) => point(scene && at(event)));
    node.addEventListener("pointerleave", () => point(null));
  };
  follow(page.gallery, (event) => gallery.at(event, scene), pointAtHead);
  follow(page.matrix, (event) => matrix.at(event), pointAtCell);
  follow(page.arcs, arcKey, pointAtCell);

  const chooseToken = (position) => shared.set({ position: Math.min(scene.data.n_pos - 1, position) });
  const chooseQuery = (slot) => chooseToken(slot * scene.matrix.scale);
  page.gallery.addEventListener("click", (event) => {
    const found = scene && gallery.at(event, scene);
    if (found) shared.set({ ...found, show_heads: "head" });
  });
  page.matrix.addEventListener("click", (event) => {
    const found = scene && matrix.at(event);
    if (found) chooseQuery(found.query);
  });
  page.arcs.addEventListener("click", (event) => {
    const found = scene && arcs.at(event);
    if (found) chooseToken(found.query ?? found.key);
  });
  page.gallery.addEventListener("scroll", draw);
  page.gallery.addEventListener("keydown", (event) => {
    if (!(event.key in HEAD_STEPS) || !scene) return;
    event.preventDefault();
    event.stopPropagation();
    const { wanted, data: { heads } } = scene;
    const [down, right] = HEAD_STEPS[event.key];
    const within = (value, count) => Math.min(count - 1, Math.max(0, value));
    const row = within(Math.max(0, wanted.indexOf(shared.get("layer"))) + down, wanted.length);
    const head = within(Math.max(0, heads.indexOf(shared.get("head"))) + right, heads.length);
    shared.set({ layer: wanted[row], head: heads[head], show_heads: "head" });
    gallery.reveal(row, head);
    sayReadout();
  });
  listenToMatrix(page.matrix, { place, draw, choose: chooseQuery, point: pointAtCell, moved: sayReadout });
  listenToMatrix(page.arcs, { place, draw, choose: chooseQuery, point: pointAtCell, moved: sayReadout, follow: chooseQuery });

  const onTraits = (name) => {
    // Typing changes nothing in the picture until its answer is there.
    if (isText(name)) {
      dim();
      return;
    }
    // At the end of a prompt that is being typed, the place of the next token changes nothing until its answer is there.
    if (name === "position" && scene && chosenQuery(scene.data, shared) === scene.matrix.position) return;
    showControls(page, shared);
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
    exactRows.close();
    shared.close();
  };
});
