// Thumbnails of every head of the layers in view: rows are layers, last one on top, columns are heads.

import { sizedContext } from "./dom.js";
import { paintMatrices } from "./patterns.js";

const GUTTER_WIDTH = 26;

/** Bitmaps of every matrix that the browser holds, painted once per data, theme and sink choice. */
export function makeAtlas() {
  let key = "";
  let sheets = [];
  return ({ data, stack, hideInGallery, palette }) => {
    const now = `${data.revision}|${hideInGallery}|${palette.key}`;
    if (now !== key) {
      key = now;
      sheets = data.layers.map((_, row) => {
        const image = paintMatrices(stack, data.heads.map((__, head) => row * data.heads.length + head), hideInGallery, palette.ramp);
        const sheet = document.createElement("canvas");
        [sheet.width, sheet.height] = [image.width, image.height];
        sheet.getContext("2d").putImageData(image, 0, 0);
        return sheet;
      });
    }
    return sheets;
  };
}

export function makeGallery(canvas, height) {
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

  return {
    /** Draws the scene: `{data, stack, wanted, held, palette, hideInGallery, here: {layer, head}, hover}`. */
    draw(scene, room) {
      const { data, stack, wanted, held, palette, here, hover } = scene;
      const rowHeight = Math.min(44, Math.max(10, height / wanted.length));
      const width = Math.min(Math.max(40, rowHeight * 2.1), Math.max(10, (room - GUTTER_WIDTH) / data.heads.length));
      tile = { width, height: rowHeight, gap: rowHeight > 16 ? 3 : 1 };
      const context = sizedContext(canvas, Math.max(room, GUTTER_WIDTH + width * data.heads.length), Math.max(height, Math.round(rowHeight * wanted.length)));
      const sheets = atlas(scene);
      context.font = `${Math.min(11, rowHeight + 1)}px ${palette.font}`;
      context.textAlign = "right";
      context.textBaseline = "middle";
      context.imageSmoothingEnabled = stack.size > width;
      const every = Math.ceil(11 / rowHeight);
      wanted.forEach((layer, row) => {
        if (row % every === 0 || layer === here.layer) number(context, layer, row, here.layer, palette);
        data.heads.forEach((_, head) => {
          const box = [GUTTER_WIDTH + head * width, row * rowHeight, width - tile.gap, rowHeight - tile.gap];
          context.fillStyle = palette.line;
          context.fillRect(...box);
          // A layer that was dragged into view is asked for on release; until then its tiles are empty.
          if (held.has(layer)) context.drawImage(sheets[held.get(layer)], 0, head * stack.size, stack.size, stack.size, ...box);
        });
      });
      if (hover) mark(context, scene, hover.layer, hover.head, palette.muted, 1);
      if (here.head !== null) mark(context, scene, here.layer, here.head, palette.accent, 2);
    },
    /** Which head is under the pointer, or null. */
    at(event, { wanted, data }) {
      if (!tile) return null;
      const box = canvas.getBoundingClientRect();
      const head = Math.floor((event.clientX - box.left - GUTTER_WIDTH) / tile.width);
      const row = Math.floor((event.clientY - box.top) / tile.height);
      const inside = head >= 0 && head < data.heads.length && row >= 0 && row < wanted.length;
      return inside ? { layer: wanted[row], head: data.heads[head] } : null;
    },
  };
}
