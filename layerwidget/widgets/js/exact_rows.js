// Of a long prompt's matrix the browser holds colours, a byte each: the numbers of a row come when they are looked at.

import { strongest } from "./matrix_keys.js";
import { buffersOf, unpackArrays } from "./store.js";

/** So many rows of cells are kept, those seen last. */
const KEPT = 64;

/** One row of numbers of `{first, keys, weights}`: what `query`, a token's place, gives each key that it sees. */
export function numbersOf({ first, keys, weights }, query) {
  return weights.subarray((query - first) * keys, (query - first + 1) * keys);
}

/**
 * The pair of tokens in one cell that has the largest share, `{query, key, number}`; null where all in it is hidden.
 *
 * `count` tokens share a cell; `shares(numbers)` gives a row as it is drawn.
 */
export function largestInCell(rows, cell, count, shares) {
  let best = null;
  for (let query = rows.first; query < rows.first + rows.weights.length / rows.keys; query += 1) {
    const numbers = numbersOf(rows, query);
    const shown = shares(numbers);
    for (let key = cell * count; key < Math.min(shown.length, (cell + 1) * count); key += 1) {
      if (shown[key] > (best?.share ?? 0)) best = { query, key, number: numbers[key], share: shown[key] };
    }
  }
  return best;
}

/**
 * What is said of a row of cells of which the numbers are there: of the cell `{key}` under the pointer its largest
 * number, without one the strongest key of the query at `position`; `{query, key, number, share}`.
 */
export function exactPair(rows, cell, position, count, shares) {
  if (cell) {
    const [query, key] = [rows.first, cell.key * count];
    return largestInCell(rows, cell.key, count, shares) ?? { query, key, number: numbersOf(rows, query)[key] ?? 0, share: 0 };
  }
  const numbers = numbersOf(rows, position);
  const shown = shares(numbers);
  const key = strongest(shown);
  return { query: position, key, number: numbers[key], share: shown[key] };
}

/** What "≈" means on a page that has the numbers of one row of cells only. */
export function roughNote(words, { first, count }) {
  const last = Math.min(words.length, first + count) - 1;
  return `≈: read from the colours; the prompt is long, and exact here are only the numbers of “${words[first]}”${last > first ? ` to “${words[last]}”` : ""}`;
}

/** The numbers of rows of cells, asked of the kernel one at a time; the row that is wanted last is the next one. */
export function makeExactRows(model, changed) {
  let picture = { name: "" };
  let rows = new Map();
  let asked = null;
  let wanted = null;
  const nameOf = ({ revision, focus_key: focus }) => `${revision}|${focus}`;
  const ask = (row) => {
    [asked, wanted] = [row, null];
    model.send({ type: "row", revision: picture.revision, focus_key: picture.focus, row });
  };
  const keep = (first, { data: weights, shape: [, keys] }) => {
    const row = Math.floor(first / picture.block);
    rows.delete(row);
    rows.set(row, { first, keys, weights });
    if (rows.size > KEPT) rows.delete(rows.keys().next().value);
    return row;
  };
  const receive = (message, received) => {
    const buffers = message.type === "row" ? buffersOf(message, received) : null;
    if (!buffers || nameOf({ ...message.meta, revision: message.revision }) !== picture.name) return;
    // It may be what another view of the same widget has asked for.
    if (keep(message.meta.first, unpackArrays(message.arrays, buffers).row) === asked) asked = null;
    if (asked === null && wanted !== null && !rows.has(wanted)) ask(wanted);
    changed();
  };
  const follow = (data) => {
    if (nameOf(data) === picture.name) return;
    picture = { name: nameOf(data), revision: data.revision, focus: data.focus_key, block: data.focus_block };
    [rows, asked, wanted] = [new Map(), null, null];
    keep(data.row_first, data.row);
  };
  model.on("msg:custom", receive);
  return {
    /** The numbers of a row of cells of what is drawn; null where they are not there. */
    held(data, row) {
      follow(data);
      return rows.get(row) ?? null;
    },
    /** The same, and where they are not there the kernel is asked, if there is one. */
    of(data, row) {
      follow(data);
      wanted = null;
      if (!rows.has(row) && !model.get("recorded") && row !== asked) {
        if (asked === null) ask(row);
        else wanted = row;
      }
      return rows.get(row) ?? null;
    },
    close: () => model.off("msg:custom", receive),
  };
}
