// Where every head looks: the gallery of the layers in view, and the chosen head as a matrix or as arcs.

import { makeArcs } from "./arc_lines.js";
import { PANEL_HEIGHT, attentionPanels, showArcs, showControls, showLegend } from "./attention_panels.js";
import { attentionScene, chosenQuery } from "./attention_scene.js";
import { galleryFacts, galleryTable, matrixCellText, matrixTitle, readoutText } from "./attention_words.js";
import { shareTraits } from "./bus.js";
import { makeChooser } from "./chosen_matrix.js";
import { element, setFacts } from "./dom.js";
import { openView } from "./drawn_view.js";
import { makeExactRows } from "./exact_rows.js";
import { makeGallery } from "./head_gallery.js";
import { followMatrix, strongest } from "./matrix_keys.js";
import { makeMatrix, raiseWords } from "./pattern_matrix.js";
import { rowShares } from "./patterns.js";
import { withStore } from "./store.js";
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
  let hoverHead = null;

  const readoutWords = () => page.head.textContent && `${page.head.textContent}: ${page.readout.textContent}`;
  const voice = makeVoice(shared, el, { news: readoutWords });
  const sayReadout = () => voice.say(readoutWords);

  // What is drawn

  const describe = (scene) => {
    setFacts(page.detail, galleryFacts(scene));
    showLegend(page, scene);
    const { what, facts } = matrixTitle(scene);
    page.head.replaceChildren(element("b", {}, what), ...facts.map((fact) => element("span", {}, fact)));
    page.readout.textContent = readoutText(scene);
  };
  const view = openView({ model, el, store, shared }, {
    empty: page.empty,
    column: (data) => chosenQuery(data, shared),
    begin(data) { page.empty.textContent = data?.note || "Where every head looks appears here."; },
    scene: (data, { palette, hover }) => attentionScene({
      data, shared, palette, recorded: model.get("recorded"), choose, exactRows, hoverHead, hoverCell: hover,
    }),
    show(scene) {
      gallery.draw(scene);
      raiseWords(page.readout, matrix.draw(scene.matrix, page.matrix));
      showArcs(page, el, arcs, scene, Boolean(shared.get("arcs")));
      describe(scene);
      twins.forEach((twin) => twin.changed());
    },
    clear() {
      setFacts(page.detail, []);
      page.head.textContent = page.readout.textContent = "";
    },
    heard: () => showControls(page, shared),
    came() { hoverHead = null; },
  });
  const exactRows = makeExactRows(model, view.draw);
  /** The query and the key that are pointed at, or stand out, in cells of the matrix. */
  const place = () => {
    const { chosen, scale, position, hideFirst } = view.scene()?.matrix ?? {};
    if (!chosen) return null;
    const query = Math.floor(position / scale);
    const shares = rowShares(chosen, query, hideFirst);
    const key = view.hover()?.query === query ? view.hover().key : strongest(shares);
    return { query, key, queries: chosen.size, keys: shares.length };
  };
  const matrixTwin = () => {
    const [at, scene] = [place(), view.scene()];
    if (!at) return null;
    const { chosen, scale, words, keyWords } = scene.matrix;
    const pooled = (all, count) => Array.from({ length: count }, (_, slot) => all[slot * scale]);
    const [down, across] = [pooled(words, at.queries), pooled(keyWords, chosen.keys ?? chosen.size)];
    return matrixTable(page.head.textContent, { words: down, keyWords: across, ...at }, (query, key) => matrixCellText(scene, exactRows, query, key));
  };
  const twins = [makeTwin(page.gallery, () => view.scene() && galleryTable(view.scene())), makeTwin(page.matrix, matrixTwin)];

  // What is pointed at and chosen

  const pointAtHead = (found) => {
    if (found?.layer === hoverHead?.layer && found?.head === hoverHead?.head) return;
    hoverHead = found;
    page.gallery.title = found ? `layer ${found.layer}, head ${found.head}` : "";
    view.draw();
  };
  const headAt = (event) => view.scene() && gallery.at(event, view.scene());
  page.gallery.addEventListener("pointermove", (event) => pointAtHead(headAt(event)));
  page.gallery.addEventListener("pointerleave", () => pointAtHead(null));
  page.gallery.addEventListener("click", (event) => {
    const found = headAt(event);
    if (found) shared.set({ ...found, show_heads: "head" });
  });
  page.gallery.addEventListener("scroll", view.draw);
  page.gallery.addEventListener("keydown", (event) => {
    if (!(event.key in HEAD_STEPS) || !view.scene()) return;
    event.preventDefault();
    event.stopPropagation();
    const { wanted, data: { heads } } = view.scene();
    const [down, right] = HEAD_STEPS[event.key];
    const within = (value, count) => Math.min(count - 1, Math.max(0, value));
    const row = within(Math.max(0, wanted.indexOf(shared.get("layer"))) + down, wanted.length);
    const head = within(Math.max(0, heads.indexOf(shared.get("head"))) + right, heads.length);
    shared.set({ layer: wanted[row], head: heads[head], show_heads: "head" });
    gallery.reveal(row, head);
    sayReadout();
  });
  const chooseToken = (position) => shared.set({ position: Math.min(view.scene().data.n_pos - 1, position) });
  const chooseQuery = (slot) => chooseToken(slot * view.scene().matrix.scale);
  const pointed = { place, draw: view.draw, choose: chooseQuery, moved: sayReadout };
  followMatrix(page.matrix, { ...pointed, at: (event) => view.scene() && matrix.at(event), point: view.point });
  followMatrix(page.arcs, {
    ...pointed,
    at: (event) => view.scene() && arcs.at(event),
    // Under the pointer is a token as the one that looks, or as one that is looked at.
    point: (found) => view.point(found?.key === undefined ? null : { query: view.scene().matrix.position, key: found.key }),
    click: ({ query, key }) => chooseToken(query ?? key),
    follow: chooseQuery,
  });
  showControls(page, shared);
  return () => {
    twins.forEach((twin) => twin.close());
    voice.close();
    exactRows.close();
    view.close();
  };
});
