// Attention patterns as the kernel packs them, query by query: first the first row of every matrix, then the second of
// every matrix. A causal row ends at its own query. The gallery holds 8-bit roots of weights, the chosen matrix weights.
// What is no share of 1 has a `limit`, for which the last colour stands; without one, that is 1.

/** Weights of the 8-bit roots, 0 to 1. */
const WEIGHTS = Float32Array.from({ length: 256 }, (_, root) => (root / 255) ** 2);

/** How many keys a row has. */
function rowLength({ size, keys = size, causal }, query) {
  return causal ? query + 1 : keys;
}

/** Where a row of one of `count` matrices begins. */
function rowStart({ size, keys = size, causal, count = 1 }, query, matrix = 0) {
  return (causal ? (count * query * (query + 1)) / 2 : count * query * keys) + matrix * rowLength({ keys, causal }, query);
}

/** The weights of one row of a matrix, 0 to 1. */
export function rowWeights(matrix, query) {
  const start = rowStart(matrix, query);
  return matrix.weights.subarray(start, start + rowLength(matrix, query));
}

/** The largest number of a matrix that is drawn; 0 where there is none. */
export function largestShown(matrix, hideFirst) {
  let largest = 0;
  for (let query = 0; query < matrix.size; query += 1) {
    const weights = rowWeights(matrix, query);
    for (let key = hideFirst ? 1 : 0; key < weights.length; key += 1) if (weights[key] > largest) largest = weights[key];
  }
  return largest;
}

/** A row of a matrix as it is drawn. */
export function rowShares(matrix, query, hideFirst) {
  return drawnShares(rowWeights(matrix, query), matrix.limit, hideFirst);
}

/** Numbers as they are drawn, from 0 to 1: with the first key hidden, the rest of a row of shares is scaled to sum to 1. */
export function drawnShares(weights, limit, hideFirst) {
  const shares = Float64Array.from(weights, limit ? (weight) => weight / limit : undefined);
  if (!hideFirst) return shares;
  shares[0] = 0;
  if (limit) return shares;
  const rest = shares.reduce((sum, weight) => sum + weight, 0);
  return rest > 0 ? shares.map((weight) => weight / rest) : shares;
}

/** One matrix from those of a gallery: their mean or their maximum, near enough to be drawn until the numbers are there. */
export function blend(stack, matrices, how) {
  const { size, keys, causal, roots, limit } = stack;
  const weights = new Float32Array(rowStart({ size, keys, causal }, size));
  for (let query = 0; query < size; query += 1) {
    const into = rowStart({ size, keys, causal }, query);
    for (const matrix of matrices) {
      const from = rowStart(stack, query, matrix);
      for (let key = 0; key < rowLength(stack, query); key += 1) {
        const weight = WEIGHTS[roots[from + key]] * (limit || 1);
        if (how === "mean") weights[into + key] += weight / matrices.length;
        else if (weight > weights[into + key]) weights[into + key] = weight;
      }
    }
  }
  return { size, keys, causal, weights, limit, exact: false };
}

/** One matrix of an unpooled gallery, exact to three decimals by its `steps` (see `thousandth_steps`). */
export function exactMatrix(stack, steps, matrix) {
  const { size, keys, causal, roots } = stack;
  const weights = new Float32Array(rowStart({ size, keys, causal }, size));
  for (let query = 0; query < size; query += 1) {
    const into = rowStart({ size, keys, causal }, query);
    const from = rowStart(stack, query, matrix);
    for (let key = 0; key < rowLength(stack, query); key += 1) {
      const weight = WEIGHTS[roots[from + key]];
      const step = steps[from + key] - 128;
      // Where the root says the same in three decimals, it knows more than they do.
      weights[into + key] = step ? (Math.floor(weight * 1000 + 0.5) + step) / 1000 : weight;
    }
  }
  return { size, keys, causal, weights, limit: 0, exact: true };
}

/** A matrix of which there are only the colours, `block` queries and keys to a cell. */
export function colouredMatrix({ size, keys, causal }, roots, block, limit) {
  return { size, keys, causal, block, limit, weights: Float32Array.from(roots, (root) => WEIGHTS[root] * (limit || 1)), exact: false, rough: true };
}

/** The weights of one row of one of a gallery's matrices, as exact as its picture is. */
export function tileRow(stack, matrix, query) {
  const start = rowStart(stack, query, matrix);
  return Array.from(stack.roots.subarray(start, start + rowLength(stack, query)), (root) => WEIGHTS[root] * (stack.limit || 1));
}

const rampPixels = new WeakMap();

/** The colours of a ramp as pixels. */
function pixelsOf(ramp) {
  if (!rampPixels.has(ramp)) rampPixels.set(ramp, new Uint32Array(Uint8ClampedArray.from(ramp.flatMap((colour) => [...colour, 255])).buffer));
  return rampPixels.get(ramp);
}

/** How many rows of two galleries are the same, from the first on. */
export function sameRows(before, after) {
  if (before.causal !== after.causal || before.count !== after.count || !(after.causal || (before.size === after.size && before.keys === after.keys))) return 0;
  const length = Math.min(before.roots.length, after.roots.length);
  let place = 0;
  while (place < length && before.roots[place] === after.roots[place]) place += 1;
  let rows = 0;
  while (rows < Math.min(before.size, after.size) && rowStart(after, rows + 1) <= place) rows += 1;
  return rows;
}

/** Pixels of some matrices of a gallery from a row on, side by side, each so wide; square-root scale. */
export function galleryPixels(stack, matrices, firstRow, hideFirst, ramp, width) {
  const { size, roots } = stack;
  const colours = pixelsOf(ramp);
  const pixels = new Uint32Array(width * matrices.length * (size - firstRow)).fill(colours[0]);
  const firstKey = hideFirst ? 1 : 0;
  for (let query = firstRow; query < size; query += 1) {
    const length = rowLength(stack, query);
    for (let tile = 0; tile < matrices.length; tile += 1) {
      const from = rowStart(stack, query, matrices[tile]);
      const into = ((query - firstRow) * matrices.length + tile) * width;
      let rest = hideFirst ? 0 : 255 ** 2;
      for (let key = 1; hideFirst && key < length; key += 1) rest += roots[from + key] ** 2;
      const scale = rest ? 255 / Math.sqrt(rest) : 0;
      for (let key = firstKey; key < length; key += 1) pixels[into + key] = colours[Math.round(roots[from + key] * scale)];
    }
  }
  return new Uint8ClampedArray(pixels.buffer);
}

/** Pixels of one matrix, square-root scale. */
export function matrixPixels(matrix, hideFirst, ramp) {
  const { size, keys = size } = matrix;
  const colours = pixelsOf(ramp);
  const pixels = new Uint32Array(size * keys).fill(colours[0]);
  for (let query = 0; query < size; query += 1) {
    rowShares(matrix, query, hideFirst).forEach((share, key) => {
      pixels[query * keys + key] = colours[Math.min(255, Math.round(Math.sqrt(share) * 255))];
    });
  }
  return new Uint8ClampedArray(pixels.buffer);
}
