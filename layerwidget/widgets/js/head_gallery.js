// Thumbnails of every head of the layers in view: rows are layers, last one on top, columns are heads.

import { typeSize } from "./colour.js";
import { pointIn, sizedContext } from "./dom.js";
import { galleryPixels, sameRows } from "./patterns.js";

const GUTTER_WIDTH = 26;
/** Below the tiles stand the numbers of the heads. */
export const HEADS_HEIGHT = 30;
/** Tiles of low rows are wider than those are high: there is room. */
const WIDEST_LOW_TILE = 56;

/** Room for some more rows in each tile of a sheet: the prompt is being typed. */
const SPARE_ROWS = 32;

/**
 * Bitmaps of the matrices of a layer, in as many columns as rows; painted when they are first seen.
 *
 * After an edit only those rows are painted that have changed: of an appended prompt, the last.
 */
function makeAtlas() {
  const sheets = new Map();
  let look = "";
  let side = 0;
  let last = null;
  const renew = ({ stack }, now) => {
    const extent = Math.max(stack.size, stack.keys);
    const fits = extent <= side && side <= 2 * (extent + SPARE_ROWS);
    const same = now === look && fits ? sameRows(last, stack) : 0;
    if (!same) {
      sheets.clear();
      side = extent + SPARE_ROWS;
    }
    for (const sheet of sheets.values()) sheet.rows = Math.min(sheet.rows, same);
    [look, last] = [now, stack];
  };
  const paint = (sheet, row, { data: { heads }, stack, hideInGallery, palette }) => {
    const context = sheet.canvas.getContext("2d");
    for (let head = 0; head < heads.length; head += sheet.columns) {
      const matrices = heads.slice(head, head + sheet.columns).map((_, place) => row * heads.length + head + place);
      const pixels = galleryPixels(stack, matrices, sheet.rows, hideInGallery, palette.ramp, side);
      context.putImageData(new ImageData(pixels, side * matrices.length), 0, (head / sheet.columns) * side + sheet.rows);
    }
    sheet.rows = stack.size;
  };
  const blank = (columns) => {
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = columns * side;
    return { canvas, columns, rows: 0 };
  };
  return {
    /** Draws one tile: a head of a row of the data. */
    draw(context, scene, row, head, box) {
      const { data, stack, hideInGallery, palette } = scene;
      const now = `${data.heads.length}|${hideInGallery}|${palette.key}`;
      if (now !== look || stack.roots !== last.roots) renew(scene, now);
      if (!sheets.has(row)) sheets.set(row, blank(Math.ceil(Math.sqrt(data.heads.length))));
      const sheet = sheets.get(row);
      if (sheet.rows < stack.size) paint(sheet, row, scene);
      const [left, top] = [head % sheet.columns, Math.floor(head / sheet.columns)];
      context.drawImage(sheet.canvas, left * side, top * side, stack.keys, stack.size, ...box);
    },
  };
}

/** Whether there is one key only, which has all of every head's attention. */
export function singleKey({ n_keys, unit }) {
  return n_keys === 1 && !unit;
}

/** The rows, or columns, of a scrolled box that can be seen: the first, and the one after the last. */
export function inSight(scrolled, room, step, count) {
  return [Math.max(0, Math.floor(scrolled / step)), Math.min(count, Math.ceil((scrolled + room) / step))];
}

export function makeGallery(canvas, height) {
  const box = canvas.parentElement;
  const atlas = makeAtlas();
  let tile = null;

  const mark = (context, { wanted, data }, layer, head, colour, thick) => {
    const row = wanted.indexOf(layer);
    const column = data.heads.indexOf(head);
    if (row < 0 || column < 0) return;
    context.strokeStyle = colour;
    context.lineWidth = thick;
    const top = Math.max(thick / 2, row * tile.height - 1);
    context.strokeRect(GUTTER_WIDTH + column * tile.width - 1, top, tile.width - tile.gap + 2, (row + 1) * tile.height - tile.gap + 1 - top);
  };
  const number = (context, layer, row, here, palette) => {
    context.fillStyle = layer === here ? palette.accent : palette.muted;
    context.fillText(layer, GUTTER_WIDTH - 7, (row + 0.5) * tile.height);
  };

  const heads = (context, { data, palette, here }, [first, stop], foot) => {
    context.font = `${typeSize(palette, 10)} ${palette.font}`;
    context.textAlign = "center";
    const every = Math.ceil(Math.max(16, 1.5 * palette.least) / tile.width);
    for (let column = first; column < stop; column += 1) {
      if (column % every) continue;
      context.fillStyle = data.heads[column] === here.head ? palette.accent : palette.muted;
      context.fillText(data.heads[column], GUTTER_WIDTH + (column + 0.5) * tile.width - tile.gap / 2, foot + 8);
    }
    context.fillStyle = palette.muted;
    context.fillText("head", GUTTER_WIDTH + (data.heads.length * tile.width) / 2, foot + 23);
  };

  return {
    /** Draws the scene: `{data, stack, wanted, held, palette, hideInGallery, here: {layer, head}, hover}`. */
    draw(scene) {
      const { data, stack, wanted, held, palette, here, hover } = scene;
      const room = box.clientWidth;
      const rowHeight = Math.min(44, Math.max(10, height / wanted.length));
      const width = Math.min(Math.max(WIDEST_LOW_TILE, rowHeight * 2.1), Math.max(10, (room - GUTTER_WIDTH) / data.heads.length));
      tile = { width, height: rowHeight, gap: rowHeight > 16 ? 3 : 1 };
      const context = sizedContext(canvas, Math.max(room, GUTTER_WIDTH + width * data.heads.length), Math.max(height, Math.round(rowHeight * wanted.length)) + HEADS_HEIGHT);
      context.font = `${typeSize(palette, Math.min(11, rowHeight + 1))} ${palette.font}`;
      context.textAlign = "right";
      context.textBaseline = "middle";
      context.imageSmoothingEnabled = stack.keys > width;
      const every = Math.ceil(Math.max(11, palette.least) / rowHeight);
      const [top, bottom] = inSight(box.scrollTop, box.clientHeight, rowHeight, wanted.length);
      const [left, right] = inSight(box.scrollLeft - GUTTER_WIDTH, room, width, data.heads.length);
      for (let row = top; row < bottom; row += 1) {
        const layer = wanted[row];
        if (row % every === 0 || layer === here.layer) number(context, layer, row, here.layer, palette);
        for (let head = left; head < right; head += 1) {
          const place = [GUTTER_WIDTH + head * width, row * rowHeight, width - tile.gap, rowHeight - tile.gap];
          context.fillStyle = palette.line;
          context.fillRect(...place);
          // A layer that was dragged into view is asked for on release; until then its tiles are empty. So are those of
          // shares of a single key: they are 1 everywhere.
          if (held.has(layer) && !singleKey(data)) atlas.draw(context, scene, held.get(layer), head, place);
        }
      }
      heads(context, scene, [left, right], Math.round(rowHeight * wanted.length));
      if (hover) mark(context, scene, hover.layer, hover.head, palette.muted, 1);
      if (here.head !== null) mark(context, scene, here.layer, here.head, palette.accent, 2);
    },
    /** Scrolls as far as needed to show a tile. */
    reveal(row, head) {
      if (!tile) return;
      const [top, left] = [row * tile.height, head * tile.width];
      if (top < box.scrollTop) box.scrollTop = top;
      else if (top + tile.height > box.scrollTop + box.clientHeight) box.scrollTop = top + tile.height - box.clientHeight;
      if (left < box.scrollLeft) box.scrollLeft = left;
      else if (left + tile.width + GUTTER_WIDTH > box.scrollLeft + box.clientWidth) box.scrollLeft = left + tile.width + GUTTER_WIDTH - box.clientWidth;
    },
    /** Which head is under the pointer, or null. */
    at(event, { wanted, data }) {
      if (!tile) return null;
      const [x, y] = pointIn(canvas, event);
      const head = Math.floor((x - GUTTER_WIDTH) / tile.width);
      const row = Math.floor(y / tile.height);
      const inside = head >= 0 && head < data.heads.length && row >= 0 && row < wanted.length;
      return inside ? { layer: wanted[row], head: data.heads[head] } : null;
    },
  };
}
