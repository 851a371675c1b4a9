// Three matrices beside each other in one canvas: a head's weights in A, in B, and the difference; one pointer for all.

import { shade } from "./colour.js";
import { pointIn, sizedContext } from "./dom.js";
import { hatch } from "./heat_cells.js";
import { labelColumns, labelRows } from "./pattern_matrix.js";

export const MATRICES = ["A", "B", "B − A"];
const WORDS_WIDTH = 92;
const WORDS_HEIGHT = 52;
const TITLE_HEIGHT = 18;
const GAP = 16;
const LARGEST_SIDE = 340;
const LARGEST_CELL = 44;

/** How long a side of each matrix can be in so much room. */
function sideIn(room) {
  return Math.max(60, Math.min(LARGEST_SIDE, Math.floor((room - WORDS_WIDTH - 2 * GAP - 2) / 3)));
}

/** Height in px of the row in so much room, whatever it shows. */
export function matrixRowHeight(room) {
  return TITLE_HEIGHT + sideIn(room) + WORDS_HEIGHT;
}

/** Both weights of a cell, NaN where there is no such token, and the difference in the 32 bits that they have. */
export function differenceOf({ a, b, places_a: { length } }, query, key) {
  const place = query * length + key;
  return { a: a.data[place], b: b.data[place], change: Math.fround(b.data[place] - a.data[place]) };
}

/** Pixels of the three matrices, square-root scale up to `limit`; see-through where there is no value. */
export function pairPixels(data, { ramp, above, below }) {
  const count = data.a.data.length;
  const pixels = MATRICES.map(() => new Uint8ClampedArray(4 * count));
  const put = (matrix, place, share, colours) => {
    if (Number.isNaN(share)) return;
    pixels[matrix].set(colours[shade(Math.sqrt(Math.abs(share) / data.limit))], 4 * place);
    pixels[matrix][4 * place + 3] = 255;
  };
  for (let place = 0; place < count; place += 1) {
    const [a, b] = [data.a.data[place], data.b.data[place]];
    put(0, place, a, ramp);
    put(1, place, b, ramp);
    put(2, place, b - a, b < a ? below.ramp : above.ramp);
  }
  return pixels;
}

/** The bitmaps of the matrices, painted once per head and theme. */
function makeSheets() {
  let kept = {};
  return (data, palette) => {
    if (kept.revision !== data.revision || kept.palette !== palette) {
      const size = data.places_a.length;
      const sheets = pairPixels(data, palette).map((pixels) => {
        const sheet = document.createElement("canvas");
        sheet.width = sheet.height = size;
        sheet.getContext("2d").putImageData(new ImageData(pixels, size), 0, 0);
        return sheet;
      });
      kept = { revision: data.revision, palette, sheets };
    }
    return kept.sheets;
  };
}

export function makeMatrixRow(canvas) {
  const sheets = makeSheets();
  let drawn = null;
  const left = (matrix) => WORDS_WIDTH + matrix * (drawn.slot + GAP);

  /** The words below a matrix are its own; a token that it has not is left out. */
  const words = (context, { data, palette, query, hover }) => {
    const either = data.words_a.map((word, column) => word || data.words_b[column]);
    const both = data.words_a.map((word, column) => (word && data.words_b[column] && word !== data.words_b[column] ? `${word}→${data.words_b[column]}` : either[column]));
    const chosen = hover ? [query, hover.query] : [query];
    const common = { cell: drawn.cell, scale: 1, palette };
    labelRows(context, { ...common, words: both, chosen, here: query, right: WORDS_WIDTH - 5, width: WORDS_WIDTH - 8, top: TITLE_HEIGHT });
    for (const [matrix, own] of [data.words_a, data.words_b, both].entries()) {
      labelColumns(context, { ...common, words: own, chosen: hover ? [hover.key] : [], left: left(matrix), top: TITLE_HEIGHT + drawn.foot, length: WORDS_HEIGHT + 2 });
    }
  };
  const outlines = (context, { palette, query, hover }, x) => {
    const { cell, foot } = drawn;
    context.strokeStyle = palette.accent;
    context.lineWidth = Math.max(1, Math.min(2, cell / 4));
    if (query >= 0) context.strokeRect(x, TITLE_HEIGHT + Math.max(1, query * cell), foot, Math.max(2, cell));
    if (!hover) return;
    context.strokeStyle = palette.muted;
    context.lineWidth = 1;
    context.strokeRect(x + hover.key * cell, TITLE_HEIGHT + hover.query * cell, Math.max(2, cell), Math.max(2, cell));
  };
  const one = (context, scene, matrix) => {
    const { palette, data } = scene;
    const [x, { foot, size }] = [left(matrix), drawn];
    context.font = `600 12px ${palette.font}`;
    context.textAlign = "left";
    context.textBaseline = "middle";
    context.fillStyle = palette.ink;
    context.fillText(MATRICES[matrix], x, TITLE_HEIGHT / 2 - 1);
    hatch(context, x, TITLE_HEIGHT, foot, foot, palette.hatch);
    context.imageSmoothingEnabled = size > foot;
    context.drawImage(sheets(data, palette)[matrix], x, TITLE_HEIGHT, foot, foot);
    context.strokeStyle = palette.line;
    context.lineWidth = 1;
    context.strokeRect(x - 0.5, TITLE_HEIGHT - 0.5, foot + 1, foot + 1);
    outlines(context, scene, x);
  };

  return {
    /** Draws `{data, palette, query, hover}`; `query` and `hover` are columns that both prompts share. */
    draw(scene, room) {
      const [slot, size] = [sideIn(room), scene.data.places_a.length];
      const cell = Math.min(LARGEST_CELL, slot / size);
      drawn = { slot, cell, size, foot: cell * size };
      const context = sizedContext(canvas, room, matrixRowHeight(room));
      MATRICES.forEach((_, matrix) => one(context, scene, matrix));
      words(context, scene);
    },
    /** Which query and key are under the pointer, or null. */
    at(event) {
      if (!drawn) return null;
      const [x, under] = pointIn(canvas, event);
      const y = under - TITLE_HEIGHT;
      const inside = (place) => place >= 0 && place < drawn.size;
      const query = Math.floor(y / drawn.cell);
      const keys = MATRICES.map((_, matrix) => Math.floor((x - left(matrix)) / drawn.cell));
      const key = keys.find(inside);
      return key !== undefined && inside(query) ? { key, query } : null;
    },
  };
}
