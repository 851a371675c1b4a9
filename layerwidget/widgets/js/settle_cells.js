// How far a prediction is made: what the cells of the strip and the curve beside it show.

import { typeSize } from "./colour.js";

const SHADES = [0, 46, 118, 205];

/** 3: the most probable token for good; 2: the most probable; 1: among the k most probable; 0: none of these. */
export function settleLevel(rank, layer, settled, k) {
  if (layer >= settled) return 3;
  if (rank === 0) return 2;
  return rank < k ? 1 : 0;
}

/** The colour to fill with, and to write on it with, of a level. */
export function levelColours({ fills, inks }, level) {
  return [fills[SHADES[level]], inks[SHADES[level]]];
}

/** At how many positions the prediction is settled by each layer. */
export function settledBy(settled, nLayers) {
  const counts = new Array(nLayers).fill(0);
  for (const layer of settled) counts[layer] += 1;
  for (let layer = 1; layer < nLayers; layer += 1) counts[layer] += counts[layer - 1];
  return counts;
}

/** A share in per cent, for people. */
export function percent(share) {
  return `${Math.round(share * 100)} %`;
}

/** The measured shares in words: "early 12 % · middle 24 % · late 64 % of 21 predictions settle". */
export function sharesText(shares, count) {
  const parts = Object.entries(shares).map(([name, share]) => `${name} ${percent(share)}`);
  return `${parts.join(" · ")} of ${count} prediction${count === 1 ? " settles" : "s settle"}`;
}

/** Where a mark of a layer stands among rows that may not hold it, and what it says: an arrow leads out of view. */
export function layerMark(layer, rows) {
  const [top, bottom] = [rows[0], rows.at(-1)];
  if (layer > top) return { row: top, text: `▴${layer}` };
  if (layer < bottom) return { row: bottom, text: `▾${layer}` };
  return { row: rows.findLast((row) => row >= layer), text: String(layer) };
}

/** Paints the cells of a layer grid; the scene has `{data, held, rows, palette}`. */
export function paintSettle(context, { data, held, rows, palette }, { row, column }, each) {
  const count = data.labels.length;
  context.font = `${typeSize(palette, Math.max(9, Math.min(11, row - 3)))} ${palette.font}`;
  const marks = new Map();
  each((layer, c, left, top, height) => {
    const settled = data.settled.data[c];
    const level = settleLevel(data.ranks.data[held.get(layer) * count + c], layer, settled, data.k);
    const [fill, ink] = levelColours(palette, level);
    if (level) {
      context.fillStyle = fill;
      // No gap between layers that agree for good: they are one bar.
      context.fillRect(left, top, column - 1, height - (layer === settled || level < 3 ? 1 : 0));
    }
    if (!marks.has(c)) marks.set(c, [layerMark(settled, rows), layerMark(data.emerged.data[c], rows)]);
    const mark = marks.get(c).find((one) => one.row === layer);
    if (!mark || row < 11) return;
    context.fillStyle = level ? ink : palette.muted;
    context.fillText(mark.text, left + (column - 1) / 2, top + height / 2 + 0.5);
  });
}

/** Where everything is in the picture of the shares: `x(layer)` is the left edge of a layer. */
export function curveFrame(width, height, nLayers) {
  const [left, right, top, bottom] = [44, 8, 40, 40];
  const step = (width - left - right) / nLayers;
  return {
    left, top, step, right: width - right, bottom: height - bottom,
    x: (layer) => left + layer * step,
    y: (share) => height - bottom - share * (height - bottom - top),
    layerAt: (x) => Math.min(nLayers - 1, Math.max(0, Math.floor((x - left) / step))),
  };
}

function paintBands(context, { data, palette }, { x, top, bottom }) {
  Object.entries(data.bands).forEach(([name, [first, last]], place) => {
    const [left, right] = [x(first), x(last + 1)];
    context.fillStyle = palette.band;
    if (place % 2 === 0) context.fillRect(left, top, right - left, bottom - top);
    context.textAlign = "center";
    context.font = `${typeSize(palette, 11)} ${palette.font}`;
    context.fillStyle = palette.muted;
    if (right - left > 30) context.fillText(name, (left + right) / 2, top - 28);
    context.font = `600 13px ${palette.font}`;
    context.fillStyle = palette.ink;
    if (right - left > 30) context.fillText(percent(data.shares[name]), (left + right) / 2, top - 11);
  });
}

function paintAxes(context, { data, palette, inView }, { left, right, bottom, x, y, step }) {
  const n = data.layers.length;
  context.font = `${typeSize(palette, 11)} ${palette.font}`;
  for (const share of [0, 0.25, 0.5, 0.75, 1]) {
    context.fillStyle = palette.edge;
    context.fillRect(left, Math.round(y(share)), right - left, 1);
    context.fillStyle = palette.muted;
    context.textAlign = "right";
    context.fillText(percent(share), left - 5, y(share));
  }
  context.textAlign = "center";
  const every = [1, 2, 5, 10, 20, 50].find((each) => n / each <= 7) ?? 100;
  for (let layer = 0; layer < n; layer += 1) {
    const shown = layer === n - 1 || (layer % every === 0 && n - 1 - layer >= every / 2);
    if (shown) context.fillText(layer, x(layer) + step / 2, bottom + 14);
    if (inView.has(layer)) {
      context.fillStyle = palette.fills[150];
      context.fillRect(x(layer), bottom + 2, step, 3);
      context.fillStyle = palette.muted;
    }
  }
  context.fillText("settled by layer", (left + right) / 2, bottom + 31);
}

/** Paints the share of positions whose prediction is settled by each layer, on the bands. */
export function paintShares(context, width, height, scene) {
  const { data, palette, here, hoverLayer } = scene;
  const frame = curveFrame(width, height, data.layers.length);
  const { x, y, step, bottom, top } = frame;
  const by = settledBy(data.settled.data, data.layers.length);
  const total = data.labels.length;
  context.textBaseline = "middle";
  paintBands(context, scene, frame);
  paintAxes(context, scene, frame);
  const gap = step > 4 ? 1 : 0;
  by.forEach((count, layer) => {
    const before = layer ? by[layer - 1] : 0;
    context.fillStyle = palette.fills[SHADES[1]];
    context.fillRect(x(layer), y(before / total), step - gap, bottom - y(before / total));
    // What is new at this layer stands on what was settled before.
    context.fillStyle = palette.fills[SHADES[3]];
    context.fillRect(x(layer), y(count / total), step - gap, y(before / total) - y(count / total));
  });
  const outline = (layer, colour) => {
    context.strokeStyle = colour;
    context.strokeRect(x(layer) - 0.5, top - 0.5, step, bottom - top + 1);
  };
  context.lineWidth = 1;
  if (hoverLayer !== null) outline(hoverLayer, palette.muted);
  context.lineWidth = 2;
  outline(here.layer, palette.accent);
}
