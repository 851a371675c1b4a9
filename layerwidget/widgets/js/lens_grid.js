// The grid of words: layer numbers on the left, tokens below, one word in every visible cell.

import { shade } from "./colour.js";
import { fitText, sizedContext } from "./dom.js";
import { LENS_COLOURS } from "./lens_colours.js";
import { GRID_HEIGHT, rowHeight } from "./rows.js";

const NUMBERS_WIDTH = 26;
const COLUMN_WIDTHS = [68, 52, 36];
export const TOKENS_HEIGHT = 22;

/** Column width: the widest step at which all columns fit, else the narrowest, which scrolls. */
export function columnWidth(count, room) {
  return COLUMN_WIDTHS.find((width) => width * count <= room) ?? COLUMN_WIDTHS.at(-1);
}

/** One leading space is left out inside a cell, where there is no room for it; the panel shows it. */
export function cellWord(visible) {
  return visible.length > 1 && visible[0] === "␣" && visible[1] !== "␣" ? visible.slice(1) : visible;
}

/** Draws into `canvas`, which stays in place while `scroll` moves `spacer` beneath it: only visible cells are drawn. */
export function makeGrid({ canvas, spacer, scroll }) {
  let drawn = null;
  const top = (row) => Math.round(row * drawn.row);

  /** Sizes, and which rows and columns are visible. */
  const measure = ({ data, rows }) => {
    const [width, height] = [scroll.clientWidth, scroll.clientHeight];
    const column = columnWidth(data.n_pos, width - NUMBERS_WIDTH);
    const row = rowHeight(rows.length);
    const body = Math.round(rows.length * row);
    const foot = Math.min(height - TOKENS_HEIGHT, body);
    const [x, y] = [scroll.scrollLeft, scroll.scrollTop];
    spacer.style.width = `${NUMBERS_WIDTH + data.n_pos * column + 2}px`;
    spacer.style.height = `${body + TOKENS_HEIGHT}px`;
    return {
      rows, column, row, width, foot, x, y, columns: data.n_pos, height: Math.min(height, body + TOKENS_HEIGHT),
      visibleRows: [Math.floor(y / row), Math.min(rows.length, Math.ceil((y + foot) / row))],
      visibleColumns: [Math.floor(x / column), Math.min(data.n_pos, Math.ceil((x + width - NUMBERS_WIDTH) / column))],
    };
  };
  const left = (column) => NUMBERS_WIDTH + column * drawn.column - drawn.x;

  const cells = (context, { data, held, palette, colour, token }) => {
    const { rows, row, column, visibleRows, visibleColumns, y } = drawn;
    const mode = LENS_COLOURS[colour];
    const pinned = data.tokens.indexOf(token);
    context.font = `${Math.max(9, Math.min(column < 50 ? 11 : 12, row - 3))}px ${palette.font}`;
    for (let r = visibleRows[0]; r < visibleRows[1]; r += 1) {
      const height = top(r + 1) - top(r);
      for (let c = visibleColumns[0]; c < visibleColumns[1]; c += 1) {
        const cell = held.get(rows[r]) * data.n_pos + c;
        if (data.done && !data.done.data[cell]) {
          context.fillStyle = palette.muted;
          context.fillText("·", left(c) + (column - 1) / 2, top(r) - y + height / 2 + 0.5);
          continue;
        }
        const tint = shade(mode.share(data, cell, pinned));
        context.fillStyle = palette.fills[tint];
        context.fillRect(left(c), top(r) - y, column - 1, height - (height > 16 ? 1 : 0));
        const word = mode.text?.(data, cell, pinned) ?? cellWord(data.pieces[data.top_ids.data[cell * data.k]].visible);
        context.fillStyle = palette.inks[tint];
        context.fillText(fitText(context, word, column - 3), left(c) + (column - 1) / 2, top(r) - y + height / 2 + 0.5);
      }
    }
  };
  const outline = (context, cell, colour, thick) => {
    const r = drawn.rows.indexOf(cell.layer);
    if (r < 0) return;
    context.strokeStyle = colour;
    context.lineWidth = thick;
    context.strokeRect(left(cell.position) + thick / 2 - 0.5, top(r) - drawn.y + thick / 2, drawn.column - thick, top(r + 1) - top(r) - thick);
  };
  const numbers = (context, { palette, here }) => {
    const { rows, row, visibleRows, foot, y } = drawn;
    context.font = `11px ${palette.font}`;
    context.textAlign = "right";
    for (let r = visibleRows[0]; r < visibleRows[1] && (r + 0.5) * row - y <= foot; r += 1) {
      context.fillStyle = rows[r] === here.layer ? palette.accent : palette.muted;
      context.fillText(rows[r], NUMBERS_WIDTH - 6, (r + 0.5) * row - y + 0.5);
    }
  };
  const tokens = (context, { data, palette, here }) => {
    const { column, visibleColumns, foot } = drawn;
    context.font = `11px ${palette.mono}`;
    context.textAlign = "center";
    for (let c = visibleColumns[0]; c < visibleColumns[1]; c += 1) {
      context.fillStyle = c === here.position ? palette.accent : palette.muted;
      context.fillText(fitText(context, data.prompt_visible[c], column - 3), left(c) + column / 2, foot + TOKENS_HEIGHT / 2 + 1);
    }
  };
  const clipped = (context, box, draw) => {
    context.save();
    context.beginPath();
    context.rect(...box);
    context.clip();
    draw();
    context.restore();
  };

  return {
    /** Draws the scene: `{data, held, rows, palette, colour, token, here: {layer, position}, hover}`. */
    draw(scene) {
      drawn = measure(scene);
      const context = sizedContext(canvas, drawn.width, drawn.height);
      context.textBaseline = "middle";
      context.textAlign = "center";
      clipped(context, [NUMBERS_WIDTH, 0, drawn.width, drawn.foot], () => {
        cells(context, scene);
        if (scene.hover) outline(context, scene.hover, scene.palette.muted, 1);
        outline(context, scene.here, scene.palette.accent, 2);
      });
      numbers(context, scene);
      clipped(context, [NUMBERS_WIDTH - 2, drawn.foot, drawn.width, TOKENS_HEIGHT], () => tokens(context, scene));
    },
    /** The first column that can be seen, and one more than the last. */
    visibleColumns() {
      return drawn.visibleColumns;
    },
    /** Whether the column of a cell can be seen, or a part of it. */
    sees({ position }) {
      return position >= drawn.visibleColumns[0] && position < drawn.visibleColumns[1];
    },
    /** Which cell is under the pointer, or null. */
    at(event) {
      if (!drawn) return null;
      const box = scroll.getBoundingClientRect();
      const x = event.clientX - box.left - NUMBERS_WIDTH;
      const position = Math.floor((x + scroll.scrollLeft) / drawn.column);
      const row = Math.floor((event.clientY - box.top + scroll.scrollTop) / drawn.row);
      return x >= 0 && position < drawn.columns && row >= 0 && row < drawn.rows.length ? { layer: drawn.rows[row], position } : null;
    },
    /** Scrolls as far as needed to show a cell. */
    reveal({ layer, position }) {
      if (!drawn) return;
      const [x, y] = [position * drawn.column, Math.max(0, drawn.rows.indexOf(layer)) * drawn.row];
      const room = scroll.clientWidth - NUMBERS_WIDTH;
      if (x < scroll.scrollLeft) scroll.scrollLeft = x;
      else if (x + drawn.column > scroll.scrollLeft + room) scroll.scrollLeft = x + drawn.column - room;
      if (y < scroll.scrollTop) scroll.scrollTop = y;
      else if (y + drawn.row > scroll.scrollTop + GRID_HEIGHT) scroll.scrollTop = y + drawn.row - GRID_HEIGHT;
    },
  };
}
