// A grid whose rows are the layers in view, last one on top: layer numbers on the left, a label below each column.

import { sameValue } from "./bus.js";
import { typeSize } from "./colour.js";
import { clipped, fitText, pointIn, sizedContext } from "./dom.js";
import { GRID_HEIGHT, rowHeight } from "./rows.js";

const NUMBERS_WIDTH = 26;
const COLUMN_WIDTHS = [544, 272, 204, 136, 102, 84, 68, 60, 52, 46, 40, 36];
export const LABELS_HEIGHT = 22;

/**
 * Column width: the widest step at which all columns fit, else the narrowest with room for four letters, which scrolls
 * and is so much wider that a whole number of columns fills the room.
 *
 * A word that is being typed is a token more and a token less from letter to letter: columns that it has made narrow
 * (`before`: `{column, columns, room}`) stay so until there is room for one more, and do not jump to and fro; a single
 * one would leave most of the room empty.
 */
export function columnWidth(count, room, least = 0, before = null) {
  const wide = COLUMN_WIDTHS.filter((width) => width >= 4 * least);
  const narrowest = wide.at(-1);
  const filling = room < narrowest ? narrowest : Math.floor(room / Math.floor(room / narrowest));
  const found = wide.find((width) => width > filling && width * count <= room) ?? filling;
  const typed = count > 1 && before !== null && before.room === room && Math.abs(before.columns - count) <= 2 && before.column >= filling;
  return typed && before.column < found && found * (count + 1) > room ? before.column : found;
}

/** Where an arrow key, Home, End, Page up or Page down leads from a cell; null for other keys. */
export function movedCell(key, { layer, column }, rows, columns) {
  const [row, last, end] = [rows.indexOf(layer), rows.length - 1, columns - 1];
  const moves = {
    ArrowLeft: [row, column - 1], ArrowRight: [row, column + 1], ArrowUp: [row - 1, column],
    ArrowDown: [row + 1, column], Home: [row, 0], End: [row, end], PageUp: [0, column], PageDown: [last, column],
  };
  if (!(key in moves)) return null;
  const [toRow, toColumn] = moves[key];
  return { layer: rows[Math.min(last, Math.max(0, toRow))], column: Math.min(end, Math.max(0, toColumn)) };
}

/**
 * Draws into `canvas`, which stays in place while `scroll` moves `spacer` beneath it: only visible cells are drawn.
 *
 * `paint(context, scene, size, each)` draws the cells: `size` has `row` and `column` in px, and `each` calls back with
 * the layer, the column, and the left, top and height of every visible cell.
 */
export function makeLayerGrid({ canvas, spacer, scroll }, paint) {
  let drawn = null;
  const top = (row) => Math.round(row * drawn.row);

  /** Sizes, and which rows and columns are visible. */
  const measure = ({ labels, rows, palette }) => {
    const [width, height] = [scroll.clientWidth, scroll.clientHeight];
    const columns = labels.length;
    const room = width - NUMBERS_WIDTH;
    const column = columnWidth(columns, room, palette.least, drawn);
    scroll.dataset.column = column;
    const row = rowHeight(rows.length);
    const body = Math.round(rows.length * row);
    const foot = Math.min(height - LABELS_HEIGHT, body);
    const [x, y] = [scroll.scrollLeft, scroll.scrollTop];
    // Scrolled to its end, the grid begins with a whole column.
    const over = columns * column > room ? Math.max(0, room) % column : 2;
    const across = NUMBERS_WIDTH + columns * column + over;
    spacer.style.width = `${across}px`;
    spacer.style.height = `${body + LABELS_HEIGHT}px`;
    return {
      rows, column, row, width, across, room, foot, x, y, columns, height: Math.min(height, body + LABELS_HEIGHT),
      visibleRows: [Math.floor(y / row), Math.min(rows.length, Math.ceil((y + foot) / row))],
      visibleColumns: [Math.floor(x / column), Math.min(columns, Math.ceil((x + room) / column))],
    };
  };
  const left = (column) => NUMBERS_WIDTH + column * drawn.column - drawn.x;

  const each = (draw) => {
    const { rows, visibleRows, visibleColumns, y } = drawn;
    for (let r = visibleRows[0]; r < visibleRows[1]; r += 1) {
      const [upper, height] = [top(r) - y, top(r + 1) - top(r)];
      for (let c = visibleColumns[0]; c < visibleColumns[1]; c += 1) draw(rows[r], c, left(c), upper, height);
    }
  };
  const outline = (context, cell, colour, thick) => {
    const r = drawn.rows.indexOf(cell.layer);
    if (r < 0) return;
    context.strokeStyle = colour;
    context.lineWidth = thick;
    context.strokeRect(left(cell.column) + thick / 2 - 0.5, top(r) - drawn.y + thick / 2, drawn.column - thick, top(r + 1) - top(r) - thick);
  };
  const numbers = (context, { palette, here }) => {
    const { rows, row, visibleRows, foot, y } = drawn;
    context.font = `${typeSize(palette, 11)} ${palette.font}`;
    context.textAlign = "right";
    for (let r = visibleRows[0]; r < visibleRows[1] && (r + 0.5) * row - y <= foot; r += 1) {
      context.fillStyle = rows[r] === here.layer ? palette.accent : palette.muted;
      context.fillText(rows[r], NUMBERS_WIDTH - 6, (r + 0.5) * row - y + 0.5);
    }
  };
  const words = (context, { labels, palette, here }) => {
    const { column, visibleColumns, foot } = drawn;
    context.font = `${typeSize(palette, 11)} ${palette.mono}`;
    context.textAlign = "center";
    for (let c = visibleColumns[0]; c < visibleColumns[1]; c += 1) {
      context.fillStyle = c === here.column ? palette.accent : palette.muted;
      context.fillText(fitText(context, labels[c], column - 2), left(c) + column / 2, foot + LABELS_HEIGHT / 2 + 1);
    }
  };
  /** Where to scroll to from `[x, y]`, as far as needed to show a cell. */
  const showing = ({ layer, column }, [x, y], room) => {
    const [left, upper] = [column * drawn.column, Math.max(0, drawn.rows.indexOf(layer)) * drawn.row];
    const across = left + drawn.column > x + room ? Math.ceil((left + drawn.column - room) / drawn.column) * drawn.column : x;
    const down = upper + drawn.row > y + GRID_HEIGHT ? upper + drawn.row - GRID_HEIGHT : y;
    return [left < x ? left : across, upper < y ? upper : down];
  };
  const reveal = (cell) => {
    if (!drawn) return;
    const from = [scroll.scrollLeft, scroll.scrollTop];
    const [x, y] = showing(cell, from, scroll.clientWidth - NUMBERS_WIDTH);
    if (x !== from[0]) scroll.scrollLeft = x;
    if (y !== from[1]) scroll.scrollTop = y;
  };
  /** Whether the grid reaches to where it was scrolled, and shows all of a cell there. */
  const isShown = (cell) => {
    const { x, y, across, width, room } = drawn;
    return x <= Math.max(0, across - width) && sameValue(showing(cell, [x, y], room), [x, y]);
  };

  return {
    reveal,
    /**
     * Draws the scene: `{rows, labels, palette, here: {layer, column}, hover}` and what `paint` needs.
     *
     * `reveals` is whether the chosen cell is brought into sight: before it is drawn, so that all is drawn once.
     */
    draw(scene, reveals = false) {
      const before = drawn;
      drawn = measure(scene);
      // In less room, or with larger type, the chosen cell stays in sight.
      const tighter = before && (before.width !== drawn.width || before.column !== drawn.column);
      if (tighter || (reveals && !isShown(scene.here))) {
        reveal(scene.here);
        drawn = measure(scene);
      }
      const context = sizedContext(canvas, drawn.width, drawn.height);
      context.textBaseline = "middle";
      context.textAlign = "center";
      clipped(context, [NUMBERS_WIDTH, 0, drawn.width, drawn.foot], () => {
        paint(context, scene, drawn, each);
        if (scene.hover) outline(context, scene.hover, scene.palette.muted, 1);
        outline(context, scene.here, scene.palette.accent, 2);
      });
      numbers(context, scene);
      clipped(context, [NUMBERS_WIDTH - 2, drawn.foot, drawn.width, LABELS_HEIGHT], () => words(context, scene));
    },
    /** Whether somebody has scrolled since it was drawn. */
    isScrolled: () => drawn !== null && (scroll.scrollLeft !== drawn.x || scroll.scrollTop !== drawn.y),
    /** The first column that can be seen, and one more than the last. */
    visibleColumns() {
      return drawn.visibleColumns;
    },
    /** Whether the column of a cell can be seen, or a part of it; in what was hidden nothing was out of sight. */
    sees({ column }) {
      return !drawn.width || (column >= drawn.visibleColumns[0] && column < drawn.visibleColumns[1]);
    },
    /** Which cell is under the pointer, or null. */
    at(event) {
      if (!drawn) return null;
      const [across, y] = pointIn(scroll, event);
      const x = across - NUMBERS_WIDTH;
      const column = Math.floor((x + scroll.scrollLeft) / drawn.column);
      const row = Math.floor((y + scroll.scrollTop) / drawn.row);
      return x >= 0 && column < drawn.columns && row >= 0 && row < drawn.rows.length ? { layer: drawn.rows[row], column } : null;
    },
  };
}
