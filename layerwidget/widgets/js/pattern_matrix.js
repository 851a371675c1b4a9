// One attention matrix: query tokens down, key tokens across, the selected query outlined.

import { shade, typeSize } from "./colour.js";
import { fitText, pointIn, sizedContext } from "./dom.js";
import { shortValue } from "./heat_cells.js";
import { matrixPixels, rowShares, rowWeights } from "./patterns.js";

const LABEL_WIDTH = 66;
const LABEL_HEIGHT = 52;
/** Of few tokens, cells are as large as that, and say their numbers. */
const LARGEST_SQUARE = 64;
const NUMBERED_SQUARE = 34;

/** Which tokens of an axis get a label: those chosen, and as many others as have room. */
export function labelled(count, cell, scale, chosen, least = 11) {
  const every = Math.ceil(least / cell);
  const slot = (index) => Math.floor(index / scale);
  // The first label stands a little below its thin cell, or it would be cut off above: the next one leaves it room.
  const near = (index) => slot(index) > 0 && (slot(index) + 0.5) * cell < 16;
  const shown = [];
  for (let index = 0; index < count; index += 1) {
    if (chosen.includes(index)) shown.push(index);
    else if (index % scale === 0 && slot(index) % every === 0 && !near(index) && !chosen.some((other) => Math.abs(slot(other) - slot(index)) < every)) shown.push(index);
  }
  return shown;
}

/** How far labels of thin cells are from each other, so that they can be told apart: rows, and columns, which are aslant. */
const [ROW_PITCH, COLUMN_PITCH] = [13, 16];

/** How large labels are, and from which cell on each row and each column has one. Where only some do, those can be large. */
export function labelType(cell, palette) {
  const size = typeSize(palette, cell < 11 ? 10 : Math.max(10, Math.min(11, cell - 1.6)));
  const px = parseFloat(size);
  // The sign for a space hangs below its line, and would lie on the next one.
  const [row, column] = [px + 1.5, px * 1.1];
  return { size, row: cell < 11 ? Math.max(ROW_PITCH, row) : row, column: cell < 11 ? Math.max(COLUMN_PITCH, column) : column };
}

/** The words of the queries, which end at `right`; the one that is `here` stands out, and so do the other chosen ones. */
export function labelRows(context, { words, cell, scale, chosen, here, palette, right, width, top }) {
  const { size, row } = labelType(cell, palette);
  context.font = `${size} ${palette.mono}`;
  context.textBaseline = "middle";
  context.textAlign = "right";
  for (const index of labelled(words.length, cell, scale, chosen, row)) {
    context.fillStyle = index === here ? palette.accent : chosen.includes(index) ? palette.ink : palette.muted;
    context.fillText(fitText(context, words[index], width), right, top + Math.max(6, (Math.floor(index / scale) + 0.5) * cell + 0.5));
  }
}

/** The words of the keys, aslant below a matrix that begins at `left` and ends at `top`. */
export function labelColumns(context, { words, cell, scale, chosen, palette, left, top, length }) {
  const { size, column } = labelType(cell, palette);
  context.font = `${size} ${palette.mono}`;
  context.textBaseline = "middle";
  context.textAlign = "right";
  for (const index of labelled(words.length, cell, scale, chosen, column)) {
    context.fillStyle = chosen.includes(index) ? palette.ink : palette.muted;
    context.save();
    context.translate(left + (Math.floor(index / scale) + 0.5) * cell, top + 6);
    context.rotate(-Math.PI / 3);
    context.fillText(fitText(context, words[index], length), 0, 2);
    context.restore();
  }
}

/** The bitmap of the chosen matrix, painted once per matrix, theme and sink choice. */
function makeSheet() {
  let kept = {};
  return ({ chosen, hideFirst, palette }) => {
    if (kept.chosen !== chosen || kept.hideFirst !== hideFirst || kept.palette !== palette) {
      const sheet = document.createElement("canvas");
      [sheet.width, sheet.height] = [chosen.keys ?? chosen.size, chosen.size];
      sheet.getContext("2d").putImageData(new ImageData(matrixPixels(chosen, hideFirst, palette.ramp), sheet.width), 0, 0);
      kept = { chosen, hideFirst, palette, sheet };
    }
    return kept.sheet;
  };
}

/** The numbers of the cells that have a colour: query, key, the number in a few letters, and the place of the colour. */
export function cellNumbers({ chosen, scale, hideFirst }) {
  if (!chosen.exact || scale > 1) return [];
  return Array.from({ length: chosen.size }, (_, query) => {
    const [shares, weights] = [rowShares(chosen, query, hideFirst), rowWeights(chosen, query)];
    return Array.from(weights, (weight, key) => [query, key, shortValue(weight, 2), shade(Math.sqrt(shares[key]))]);
  }).flat().filter(([, , , place]) => place > 0);
}

/** Words below a small matrix stand right under it; the panel stays as large as it is. */
export function raiseWords(words, px) {
  words.style.transform = px ? `translateY(${-Math.round(px)}px)` : "";
}

export function makeMatrix(canvas) {
  const sheet = makeSheet();
  let drawn = null;

  const labels = (context, { words, keyWords = words, palette, position, hover, pair }) => {
    const { down, across, foot, scale } = drawn;
    const pointed = (slot, all, token) => (hover ? [Math.min(all.length - 1, token ?? slot * scale)] : []);
    const chosen = [position, ...pointed(hover?.query, words, pair?.query)];
    labelRows(context, { words, cell: down, scale, chosen, here: position, palette, right: LABEL_WIDTH - 5, width: LABEL_WIDTH - 8, top: 0 });
    labelColumns(context, { words: keyWords, cell: across, scale, chosen: pointed(hover?.key, keyWords, pair?.key), palette, left: LABEL_WIDTH, top: foot, length: LABEL_HEIGHT + 2 });
  };

  const numbers = (context, scene) => {
    const { across, down } = drawn;
    if (Math.min(across, down) < NUMBERED_SQUARE) return;
    context.font = `${typeSize(scene.palette, 11)} ${scene.palette.font}`;
    context.textBaseline = "middle";
    context.textAlign = "center";
    for (const [query, key, number, place] of cellNumbers(scene)) {
      context.fillStyle = scene.palette.inks[place];
      if (context.measureText(number).width < across - 4) context.fillText(number, LABEL_WIDTH + (key + 0.5) * across, (query + 0.5) * down + 0.5);
    }
  };

  return {
    /**
     * Draws `{chosen, words, keyWords, scale, palette, hideFirst, position, hover, pair}` as large as a box; `chosen` may be null.
     * Gives how many px of the box are left below it.
     */
    draw(scene, { clientWidth: room, clientHeight: height }) {
      const { chosen, scale, palette, position, hover } = scene;
      const context = sizedContext(canvas, room, height);
      drawn = null;
      if (!chosen) {
        context.fillStyle = palette.muted;
        context.font = `12px ${palette.font}`;
        context.textAlign = "left";
        context.textBaseline = "middle";
        context.fillText("The attention of this head is not computed.", 8, 40);
        return 0;
      }
      const { size, keys = size } = chosen;
      const [widest, highest] = [(room - LABEL_WIDTH) / keys, (height - LABEL_HEIGHT) / size].map((most) => Math.min(LARGEST_SQUARE, most));
      // Cells are squares where both axes are the same tokens.
      const [across, down] = keys === size ? [Math.min(widest, highest), Math.min(widest, highest)] : [widest, highest];
      const [side, foot] = [across * keys, down * size];
      drawn = { across, down, foot, scale, size, keys };
      context.imageSmoothingEnabled = size > foot || keys > side;
      context.drawImage(sheet(scene), LABEL_WIDTH, 0, side, foot);
      context.strokeStyle = palette.line;
      context.strokeRect(LABEL_WIDTH - 0.5, 0.5, side, foot);
      numbers(context, scene);
      labels(context, scene);
      context.strokeStyle = palette.accent;
      context.lineWidth = Math.max(1, Math.min(2, down / 4));
      const top = Math.max(1, Math.floor(position / scale) * down);
      context.strokeRect(LABEL_WIDTH, top, side, Math.max(2, Math.min(down, foot - top)));
      if (hover) {
        context.strokeStyle = palette.muted;
        context.lineWidth = 1;
        context.strokeRect(LABEL_WIDTH + hover.key * across, hover.query * down, Math.max(2, across), Math.max(2, down));
      }
      return Math.max(0, height - foot - LABEL_HEIGHT);
    },
    /** Which query and key are under the pointer, or null. */
    at(event) {
      if (!drawn) return null;
      const [x, y] = pointIn(canvas, event);
      const key = Math.floor((x - LABEL_WIDTH) / drawn.across);
      const query = Math.floor(y / drawn.down);
      return key >= 0 && key < drawn.keys && query >= 0 && query < drawn.size ? { key, query } : null;
    },
  };
}
