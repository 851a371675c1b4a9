// Bars over positions: how surprising each token is, where the trained length ends, how far windows reach.

import { typeSize } from "./colour.js";
import { NARROWEST_WORD, UPRIGHT_HEIGHT, onEnd, paintColumnWord, paintUnit } from "./column_words.js";

const [LEFT, RIGHT, TOP, WORDS] = [56, 8, 18, 64];
/** How wide bars are where there are few: the widest step at which all have room, so that not each new one moves the others. */
const BAR_STEPS = [136, 96, 72, 60, 50, 42, 36];

/** The next step of a scale from 0 to `high` that has at most four. */
function roundStep(high) {
  const decade = 10 ** Math.floor(Math.log10(high / 4));
  return [1, 2, 5, 10].map((each) => each * decade).find((step) => high / step <= 4.000001);
}

/** What stands in place of the bars where no token has a value; null where one has. */
export function withoutLoss(nats) {
  if (nats.some(Number.isFinite)) return null;
  return nats.length > 1 ? "No token of this prompt has a loss." : "One token has no loss: nothing predicts the first token.";
}

/** Mean of the values that are there; NaN without any. */
export function meanOf(values) {
  const there = values.filter(Number.isFinite);
  return there.reduce((sum, value) => sum + value, 0) / there.length;
}

/** Where everything is: positions share the width, whatever their number. */
export function lossFrame(width, height, nats) {
  const count = nats.length;
  const high = nats.reduce((most, value) => (Number.isFinite(value) ? Math.max(most, value) : most), 0) || 1;
  const room = Math.max(1, width - LEFT - RIGHT);
  const step = BAR_STEPS.find((wide) => wide * count <= room) ?? room / count;
  const worded = step >= NARROWEST_WORD;
  const bottom = height - (worded && onEnd(step) ? WORDS : UPRIGHT_HEIGHT);
  return {
    count, high, step, worded, left: LEFT, right: LEFT + step * count, top: TOP, bottom, ticks: roundStep(high),
    x: (position) => LEFT + position * step,
    y: (value) => bottom - (value / high) * (bottom - TOP),
    positionAt: (x) => {
      const position = Math.floor((x - LEFT) / step);
      return position >= 0 && position < count ? position : null;
    },
  };
}

/** What the title line says: the mean, the lengths the model was made for, and what is not seen of every bar. */
export function lossSummary({ nats, n_ctx: nCtx, windows, labels }, { step }) {
  const count = labels.length;
  const said = ["nats per token"];
  if (count > 1) said.push(`mean ${meanOf([...nats.data]).toFixed(3)} (dashed)`);
  if (nCtx === null) said.push("no trained length known");
  else if (nCtx >= count) said.push(`trained for ${nCtx} positions: all inside`);
  else said.push(`trained for ${nCtx} positions: ${count - nCtx} past it are extrapolation`);
  for (const { width, layers } of windows) said.push(`window ${width} in layers ${layers}${width >= count ? ": all inside" : ""}`);
  if (step < 1) said.push(`${Math.ceil(1 / step)} positions per pixel, the tallest is seen`);
  return said.join(" · ");
}

/** What is said of a position. */
export function lossText(position, { labels, nats, n_ctx: nCtx }) {
  const value = nats.data[position];
  const where = `“${labels[position]}” (position ${position})`;
  const past = nCtx !== null && position >= nCtx ? " · past the trained length" : "";
  if (Number.isFinite(value)) return `${where}: ${value.toFixed(3)} nats, probability ${Math.exp(-value).toPrecision(3)}${past}`;
  return position ? `${where}: no value${past}` : `${where}: nothing predicts the first token`;
}

function mark(context, frame, position, text, { palette }) {
  const x = frame.x(position);
  context.setLineDash([3, 3]);
  context.strokeStyle = palette.ink;
  context.lineWidth = 1;
  context.beginPath();
  context.moveTo(x, 2);
  context.lineTo(x, frame.bottom);
  context.stroke();
  context.setLineDash([]);
  // Where there is no room on its right, it stands on the left.
  const beside = x + 4 + context.measureText(text).width < frame.right + RIGHT;
  context.textAlign = beside ? "left" : "right";
  context.fillStyle = palette.ink;
  context.fillText(text, beside ? x + 4 : x - 4, 9);
}

function axes(context, frame, { palette, data, here }) {
  paintUnit(context, "nats", (frame.top + frame.bottom) / 2, palette);
  context.textAlign = "right";
  for (let value = 0; value <= frame.high * 1.000001; value += frame.ticks) {
    context.fillStyle = palette.line;
    context.fillRect(frame.left, Math.round(frame.y(value)), frame.right - frame.left, 1);
    context.fillStyle = palette.muted;
    context.fillText(Number(value.toPrecision(6)), frame.left - 5, frame.y(value));
  }
  context.textAlign = "center";
  const each = frame.worded ? 1 : [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000].find((step) => step * frame.step >= 34) ?? 10000;
  for (let position = 0; position < data.labels.length; position += each) {
    const x = frame.x(position) + frame.step / 2;
    context.fillStyle = position === here ? palette.accent : palette.muted;
    if (frame.worded) paintColumnWord(context, { word: data.labels[position], x, foot: frame.bottom, column: frame.step, room: WORDS - 6 }, palette);
    else context.fillText(position, x, frame.bottom + 10);
  }
}

/** Paints the bars; the scene has `{data, palette, here, hover}`. */
export function paintLoss(context, frame, scene) {
  const { data, palette, here, hover } = scene;
  const { labels, nats, n_ctx: nCtx, windows } = data;
  const gap = frame.step > 4 ? 1 : 0;
  context.textBaseline = "middle";
  context.font = `${typeSize(palette, 11)} ${palette.font}`;
  const past = nCtx !== null && nCtx < labels.length;
  if (past) {
    context.fillStyle = palette.line;
    context.fillRect(frame.x(nCtx), frame.top, frame.right - frame.x(nCtx), frame.bottom - frame.top);
  }
  axes(context, frame, scene);
  context.font = `${typeSize(palette, 11)} ${palette.font}`;
  nats.data.forEach((value, position) => {
    if (!Number.isFinite(value)) return;
    context.fillStyle = palette.fills[position === hover ? 205 : 150];
    context.fillRect(frame.x(position), frame.y(value), Math.max(1, frame.step - gap), frame.bottom - frame.y(value));
  });
  const mean = meanOf([...nats.data]);
  if (Number.isFinite(mean)) {
    context.setLineDash([4, 4]);
    context.strokeStyle = palette.muted;
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(frame.left, frame.y(mean));
    context.lineTo(frame.right, frame.y(mean));
    context.stroke();
    context.setLineDash([]);
  }
  for (const { width, layers } of windows) if (width < labels.length) mark(context, frame, width, `window ${width} (layers ${layers})`, scene);
  if (past) mark(context, frame, nCtx, `trained length ${nCtx}: extrapolation from here`, scene);
  context.strokeStyle = palette.accent;
  context.lineWidth = 2;
  const width = Math.max(3, frame.step - gap);
  context.strokeRect(frame.x(here), frame.top, width, frame.bottom - frame.top);
}
