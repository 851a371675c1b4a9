// Rows: the rail, the grid and the head gallery show the same layers at the same heights.

export const GRID_HEIGHT = 420;
const ROW_MIN = 14;
const ROW_MAX = 42;

/** Height in px of one of `count` rows. */
export function rowHeight(count) {
  return Math.min(ROW_MAX, Math.max(ROW_MIN, GRID_HEIGHT / Math.max(1, count)));
}

/** Layer numbers of a canonical selection: "3-5,9" -> [3, 4, 5, 9]. */
export function layerNumbers(text) {
  const numbers = [];
  for (const part of String(text).split(",")) {
    const [first, last] = part.split("-").map(Number);
    for (let layer = first; layer <= (last ?? first); layer += 1) numbers.push(layer);
  }
  return numbers;
}

/** "18–29" for people. */
export function layersTitle(layers) {
  if (!layers.length) return "no layers";
  const contiguous = layers.length === layers.at(-1) - layers[0] + 1;
  if (layers.length === 1) return `layer ${layers[0]}`;
  return contiguous ? `layers ${layers[0]}–${layers.at(-1)}` : `${layers.length} of the layers ${layers[0]}–${layers.at(-1)}`;
}
