// The words of the lens: one in every visible cell, on a colour that says how far to trust it.

import { shade, typeSize } from "./colour.js";
import { cellWord, fitText } from "./dom.js";
import { LENS_COLOURS, shortProbability } from "./lens_colours.js";

/** A word of seven letters with its probability. */
const WORD_WIDTH = 84;

/** The first words of a cell that have room in a column, each with its probability; none where only one has. */
export function firstWords({ pieces, k, top_ids, top_probs }, cell, column) {
  const count = Math.min(k, Math.floor(column / WORD_WIDTH));
  return Array.from({ length: count > 1 ? count : 0 }, (_, place) => cell * k + place)
    .map((at) => [cellWord(pieces[top_ids.data[at]].visible), shortProbability(top_probs.data[at] / 65535)]);
}

/** Writes words on the left and probabilities on the right of equal parts of a cell. */
function writeWords(context, words, left, width, y) {
  const [part, font] = [width / words.length, context.font];
  words.forEach(([word, share], place) => {
    const [start, end] = [left + place * part + 6, left + (place + 1) * part - 6];
    context.textAlign = "right";
    context.fillText(share, end, y);
    context.textAlign = "left";
    const room = end - start - context.measureText(share).width - 4;
    // The first one is what the cell says.
    context.font = place ? font : `600 ${font}`;
    context.fillText(fitText(context, word, room), start, y);
    context.font = font;
  });
  context.textAlign = "center";
}

/** Paints the cells of a layer grid; the scene has `{data, held, palette, colour, token, recorded}`. */
export function paintWords(context, { data, held, palette, colour, token, recorded }, { row, column }, each) {
  const mode = LENS_COLOURS[colour];
  context.font = `${typeSize(palette, Math.max(9, Math.min(column < 50 ? 11 : 12, row - 3)))} ${palette.font}`;
  each((layer, c, left, top, height) => {
    const cell = held.get(layer) * data.n_pos + c;
    const [x, y] = [left + (column - 1) / 2, top + height / 2 + 0.5];
    const number = mode.known?.(data, cell, token);
    if ((data.done && !data.done.data[cell]) || (recorded && token !== null && number === null)) {
      context.fillStyle = palette.muted;
      context.fillText("·", x, y);
      return;
    }
    const tint = shade(number === null ? 0 : mode.share(data, number ?? cell));
    context.fillStyle = palette.fills[tint];
    context.fillRect(left, top, column - 1, height - (height > 16 ? 1 : 0));
    context.fillStyle = palette.inks[tint];
    const words = number === undefined ? firstWords(data, cell, column) : [];
    if (words.length) {
      writeWords(context, words, left, column - 1, y);
      return;
    }
    const word = number === undefined ? cellWord(data.pieces[data.top_ids.data[cell * data.k]].visible) : number === null ? "" : mode.text(number);
    context.fillText(fitText(context, word, column - 3), x, y);
  });
}
