// The words of the lens: one in every visible cell, on a colour that says how far to trust it.

import { shade, typeSize } from "./colour.js";
import { fitText } from "./dom.js";
import { LENS_COLOURS } from "./lens_colours.js";

/** One leading space is left out inside a cell, where there is no room for it; the panel shows it. */
export function cellWord(visible) {
  return visible.length > 1 && visible[0] === "␣" && visible[1] !== "␣" ? visible.slice(1) : visible;
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
    const word = number === undefined ? cellWord(data.pieces[data.top_ids.data[cell * data.k]].visible) : number === null ? "" : mode.text(number);
    context.fillStyle = palette.inks[tint];
    context.fillText(fitText(context, word, column - 3), x, y);
  });
}
