// What the attention view draws: the newest data, seen from where the reader is.

import { exactPair, numbersOf } from "./exact_rows.js";
import { drawnShares, largestShown } from "./patterns.js";
import { layerNumbers } from "./rows.js";

/** The query that is chosen, of those that there are. */
export function chosenQuery(data, shared) {
  return Math.min(shared.get("position"), data.n_pos - 1);
}

/** The gallery, and in `matrix` the chosen matrix; `choose` finds that, `exactRows` has the numbers of what are only colours. */
export function attentionScene({ data, shared, palette, recorded, choose, exactRows, hoverHead, hoverCell }) {
  const how = shared.get("show_heads");
  const scene = {
    data, palette, recorded, how,
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
    here: { layer: shared.get("layer"), head: how === "head" ? shared.get("head") : null },
    headNote: shared.get("head_note") ?? [],
    hover: hoverHead,
  };
  scene.matrix = chosenMatrix(scene, choose(scene), chosenQuery(data, shared), hoverCell);
  scene.matrix.pair = knownPair(scene, exactRows);
  return scene;
}

/** The matrix beside the gallery, `scale` tokens to a cell. */
function chosenMatrix({ data, palette, hideFirst }, chosen, position, hover) {
  const scale = chosen?.block ?? data.block;
  // Lengths differ from layer to layer: the matrix has a scale of its own, and says so.
  if (chosen && data.unit) {
    const shown = hideFirst && scale === 1;
    chosen.limits ??= [];
    chosen.limit = chosen.limits[Number(shown)] ??= largestShown(chosen, shown) || 1;
  }
  return { chosen, scale, palette, hideFirst: hideFirst && scale === 1, words: data.prompt_visible, keyWords: data.key_visible, position, hover };
}

/** What is known exactly of the cell that is pointed at, or of the chosen query, where there are only colours. */
function knownPair({ data, hideFirst, matrix: { chosen, scale, position, hover } }, exactRows) {
  if (!chosen?.rough) return null;
  const rows = exactRows.of(data, hover ? hover.query : Math.floor(position / scale));
  const pair = rows && exactPair(rows, hover, position, scale, (row) => drawnShares(row, chosen.limit, hideFirst));
  return pair && { ...pair, first: numbersOf(rows, pair.query)[0] };
}
