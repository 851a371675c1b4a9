// What the attention view says of its scene: its title lines, the weight that is pointed at, and the gallery as a table.

import { approximateNote, roughFact } from "./chosen_matrix.js";
import { exactPair, roughNote } from "./exact_rows.js";
import { singleKey } from "./head_gallery.js";
import { exactValue, shortValue } from "./heat_cells.js";
import { strongest } from "./matrix_keys.js";
import { drawnShares, rowShares, rowWeights, tileRow } from "./patterns.js";
import { layersTitle } from "./rows.js";
import { around, cutText } from "./table_twin.js";

const FIRST_QUERY_IS_EMPTY = "The first query sees only the first token, which is hidden.";
const ALL_IS_HIDDEN = "All weight rests on the first token, which is hidden.";

/** What the title line of the gallery says. */
export function galleryFacts({ data, wanted, held, hideFirst }) {
  const missing = wanted.filter((layer) => !held.has(layer)).length;
  const share = data.first_share === null ? "" : ` (${(100 * data.first_share).toFixed(0)} % of a row)`;
  const hidden = !hideFirst ? "" : data.unit ? `first token hidden${share}` : "first token hidden, rest scaled to 1";
  const scale = singleKey(data) ? ["one token: its weight is 1 in all heads"] : data.unit ? [hidden, "√ scale"] : ["√ scale", hidden];
  return [
    data.quantity, wanted.length ? layersTitle([...wanted].reverse()) : "no layer with attention", missing ? `${missing} not computed` : "", ...scale,
    data.size < data.n_pos ? `largest of ${data.block} × ${data.block} cells` : "", "last layer on top",
  ];
}

/** What the title line of the matrix says: which it is, and facts about it. */
export function matrixTitle({ data, wanted, held, how, here, headNote: [layer, head, note], matrix: { position } }) {
  const from = ` · from “${data.prompt_visible[position]}”`;
  if (how !== "head") {
    const layers = wanted.filter((one) => held.has(one)).reverse();
    return { what: `${how} of ${layersTitle(layers)}, all heads`, facts: [from] };
  }
  const named = note && layer === here.layer && head === here.head;
  const grouped = data.grouped && data.heads.includes(here.head) ? ` (kv head ${data.kv_heads[data.heads.indexOf(here.head)]})` : "";
  return { what: `layer ${here.layer} · head ${here.head}`, facts: [named ? ` · ${note}` : grouped, from].filter(Boolean) };
}

/** One line of truth: the weight under the pointer, else the strongest key of the selected query. */
export function readoutText(scene) {
  const { chosen, pair } = scene.matrix;
  if (!chosen) return "";
  return pair ? pairReadout(scene) : cellReadout(scene);
}

function cellReadout(scene) {
  const { data: { causal, unit }, recorded, matrix: { chosen, scale, position, words, keyWords, hideFirst, hover } } = scene;
  const query = hover ? hover.query : Math.floor(position / scale);
  if (hideFirst && query === 0 && causal) return FIRST_QUERY_IS_EMPTY;
  const shares = rowShares(chosen, query, hideFirst);
  const key = hover ? hover.key : strongest(shares);
  if (!hover && hideFirst && !shares[key]) return ALL_IS_HIDDEN;
  const word = (slot, all) => `“${all[Math.min(all.length - 1, slot * scale)]}”`;
  const weights = rowWeights(chosen, query);
  // A causal query gives nothing to what comes after it.
  const value = (slot) => (chosen.exact ? written(scene, weights[slot] ?? 0) : `≈ ${(weights[slot] ?? 0).toFixed(2)}`);
  const whose = scale > 1 ? ` ${scene.hideFirst ? "of what is not on the first token " : ""}(largest of the pooled cells)` : "";
  // Of lengths, colours come masked from the kernel.
  const sink = hideFirst && !(chosen.rough && unit) ? ` · hidden on the first token: ${value(0)}` : "";
  const note = recorded && !chosen.exact ? ` · ${inexactNote(scene)}` : "";
  return `${hover ? "" : "strongest: "}${word(query, words)} → ${word(key, keyWords)} ${value(key)}${whose}${sink}${colourScale(scene)}${note}`;
}

/** The same, of a pair of tokens whose number has come from the kernel. */
function pairReadout(scene) {
  const { data: { causal }, hideFirst, recorded, matrix: { scale, words, keyWords, pair, hover } } = scene;
  if (hideFirst && pair.query === 0 && causal && !hover) return FIRST_QUERY_IS_EMPTY;
  if (hideFirst && !pair.share && !hover) return ALL_IS_HIDDEN;
  const whose = hover && scale > 1 && pair.share ? ` (largest of ${scale} × ${scale} tokens)` : "";
  const sink = hideFirst ? ` · hidden on the first token: ${written(scene, pair.first)}` : "";
  const note = hover ? "" : ` · ${recorded ? inexactNote(scene) : roughFact(scale)}`;
  return `${hover ? "" : "strongest: "}“${words[pair.query]}” → “${keyWords[pair.key]}” ${written(scene, pair.number)}${whose}${sink}${colourScale(scene)}${note}`;
}

function written({ data: { unit } }, number) {
  return unit ? `${exactValue(number)} ${unit}` : number.toFixed(3);
}

function colourScale({ data: { unit }, matrix: { chosen } }) {
  return unit ? ` · colours to ${shortValue(chosen.limit, 3)} ${unit}` : "";
}

/** What "≈" means on a page that nobody answers. */
function inexactNote({ data, matrix: { chosen } }) {
  const { focus_key: focus, focus_block: count, row_first: first, prompt_visible: words, steps } = data;
  return chosen.rough ? roughNote(words, { first, count }) : approximateNote(count ? "" : focus, Boolean(steps));
}

/** The number of a cell in the matrix's table, as exact as it is known. */
export function matrixCellText({ data, hideFirst, matrix: { chosen, scale } }, exactRows, query, key) {
  const number = rowWeights(chosen, query)[key];
  if (number === undefined || chosen.exact) return number?.toFixed(3) ?? "";
  const rows = chosen.rough && exactRows.held(data, query);
  return rows ? exactPair(rows, { key }, rows.first, scale, (row) => drawnShares(row, chosen.limit, hideFirst)).number.toFixed(3) : `≈ ${number.toFixed(2)}`;
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
