// Words below the columns of a picture with axes, and the unit beside its axis. `figures/column_words.py` has the same.

import { typeSize } from "./colour.js";
import { fitText } from "./dom.js";

const UPRIGHT = 52;
/** Columns that are narrower have no room for a word, not even for one that stands on end. */
export const NARROWEST_WORD = 12;
export const UPRIGHT_HEIGHT = 18;

/** Whether words below columns so wide stand on end. */
export function onEnd(column) {
  return column < UPRIGHT;
}

/** One word below the middle of a column, on end where that is narrow and `room` px are below; its colour is set. */
export function paintColumnWord(context, { word, x, foot, column, room }, palette) {
  context.font = `${typeSize(palette, 11)} ${palette.mono}`;
  context.save();
  context.translate(x, foot + (onEnd(column) ? 4 : 10));
  if (onEnd(column)) context.rotate(-Math.PI / 2);
  context.textAlign = onEnd(column) ? "right" : "center";
  context.fillText(fitText(context, word, onEnd(column) ? room : column - 3), 0, 0);
  context.restore();
}

/** What the numbers beside an axis count, at the left edge. */
export function paintUnit(context, unit, y, palette) {
  context.font = `${typeSize(palette, 11)} ${palette.font}`;
  context.save();
  context.translate(8, y);
  context.rotate(-Math.PI / 2);
  context.textAlign = "center";
  context.fillStyle = palette.muted;
  context.fillText(unit, 0, 0);
  context.restore();
}
