// Attention patterns as the kernel packs them: 16-bit weights of [layer, head, query, key].

export const FULL = 65535;

/** Weight of one cell, 0 to 1. */
export function weight(stack, matrix, query, key) {
  return stack.values[(matrix * stack.size + query) * stack.size + key] / FULL;
}

/** Mean or maximum over some matrices of a stack, as one more stack of a single matrix. */
export function combine(stack, matrices, how) {
  const cells = stack.size * stack.size;
  const out = new Float64Array(cells);
  for (const matrix of matrices) {
    const base = matrix * cells;
    for (let cell = 0; cell < cells; cell += 1) {
      const value = stack.values[base + cell];
      if (how === "mean") out[cell] += value / matrices.length;
      else if (value > out[cell]) out[cell] = value;
    }
  }
  return { size: stack.size, values: out };
}

/** A row as it is drawn: with the first key hidden, the rest is scaled to sum to 1 again. */
export function rowShares(stack, matrix, query, hideFirst) {
  const base = (matrix * stack.size + query) * stack.size;
  const shares = new Float64Array(stack.size);
  let rest = 0;
  for (let key = hideFirst ? 1 : 0; key < stack.size; key += 1) rest += stack.values[base + key];
  const scale = hideFirst ? (rest > 0 ? 1 / rest : 0) : 1 / FULL;
  for (let key = hideFirst ? 1 : 0; key < stack.size; key += 1) shares[key] = stack.values[base + key] * scale;
  return shares;
}

/** Paints matrices of a stack one below the other into pixels, square-root scale. */
export function paintMatrices(stack, matrices, hideFirst, ramp) {
  const { size } = stack;
  const pixels = new Uint8ClampedArray(size * size * matrices.length * 4);
  let place = 0;
  for (const matrix of matrices) {
    for (let query = 0; query < size; query += 1) {
      const shares = rowShares(stack, matrix, query, hideFirst);
      for (let key = 0; key < size; key += 1) {
        const colour = ramp[Math.min(255, Math.round(Math.sqrt(shares[key]) * 255))];
        pixels[place] = colour[0];
        pixels[place + 1] = colour[1];
        pixels[place + 2] = colour[2];
        pixels[place + 3] = 255;
        place += 4;
      }
    }
  }
  return new ImageData(pixels, size, size * matrices.length);
}
