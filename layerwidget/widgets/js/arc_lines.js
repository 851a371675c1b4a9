// One query's attention as lines: queries on the left, keys on the right; the selected query's lines, by weight.

import { shade } from "./colour.js";
import { fitText, pointIn, sizedContext } from "./dom.js";
import { rowShares } from "./patterns.js";

export const MOST_LINES = 40;
const WORDS_WIDTH = 76;
const ROW_MOST = 20;
/** Lines below this share would be too thin to be seen. */
const LEAST = 0.01;

/** Why there are no lines; empty where there are. */
export function whyNoLines(nQueries, nKeys) {
  const most = Math.max(nQueries, nKeys);
  return most > MOST_LINES ? `Lines can be told apart up to ${MOST_LINES} tokens; these are ${most}. The matrix shows them all.` : "";
}

/** The lines of one query, the strongest last, so that it lies on top: `{key, share, width}`. */
export function arcLines(shares) {
  return Array.from(shares, (share, key) => ({ key, share, width: 0.75 + 5.25 * share }))
    .filter(({ share }) => share >= LEAST)
    .sort((a, b) => a.share - b.share);
}

export function makeArcs(canvas) {
  let drawn = null;
  const middle = (index, count) => (index + 0.5) * Math.min(ROW_MOST, drawn.height / count);
  const column = (context, words, left, align, colourOf) => {
    const row = Math.min(ROW_MOST, drawn.height / words.length);
    context.textAlign = align;
    words.forEach((word, index) => {
      context.font = `${Math.max(Math.min(11, Math.max(8, row - 1)), Math.min(row, drawn.palette.least ?? 0))}px ${drawn.palette.mono}`;
      context.fillStyle = colourOf(index);
      context.fillText(fitText(context, word, WORDS_WIDTH - 8), left, middle(index, words.length) + 0.5);
    });
  };
  return {
    /** Draws the scene of the matrix, `{chosen, words, keyWords, palette, hideFirst, position, hover}`, as large as a box. */
    draw({ chosen, words, keyWords = words, palette, hideFirst, position, hover }, { clientWidth: room, clientHeight: height }) {
      const context = sizedContext(canvas, room, height);
      drawn = { words, keyWords, palette, room, height };
      context.textBaseline = "middle";
      const query = hover ? hover.query : position;
      const whole = chosen?.size === words.length;
      const shares = whole ? rowShares(chosen, query, hideFirst) : [];
      const lines = arcLines(shares);
      const [from, to] = [WORDS_WIDTH, room - WORDS_WIDTH];
      for (const { key, share, width } of lines) {
        const [start, end, bend] = [middle(query, words.length), middle(key, keyWords.length), (to - from) / 2];
        context.strokeStyle = palette.fills[shade(Math.sqrt(Math.min(1, share)))];
        context.lineWidth = width;
        context.beginPath();
        context.moveTo(from, start);
        context.bezierCurveTo(from + bend, start, to - bend, end, to, end);
        context.stroke();
      }
      const looked = new Set(lines.map(({ key }) => key));
      column(context, words, from - 5, "right", (index) => (index === position ? palette.accent : index === query ? palette.ink : palette.muted));
      column(context, keyWords, to + 5, "left", (index) => (looked.has(index) ? palette.ink : palette.muted));
    },
    /** The query, or the key, whose word is under the pointer: `{query}`, `{key}` or null. */
    at(event) {
      if (!drawn) return null;
      const [x, y] = pointIn(canvas, event);
      const side = x < WORDS_WIDTH ? "words" : x > drawn.room - WORDS_WIDTH ? "keyWords" : "";
      if (!side) return null;
      const index = Math.floor(y / Math.min(ROW_MOST, drawn.height / drawn[side].length));
      if (index < 0 || index >= drawn[side].length) return null;
      return side === "words" ? { query: index } : { key: index };
    },
    forget() {
      drawn = null;
    },
  };
}
