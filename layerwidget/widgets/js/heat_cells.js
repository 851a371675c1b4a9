// The cells of a heat grid: the colour of a value, the number in the cell, and what is said of it in full.

import { shade, typeSize } from "./colour.js";
import { cellWord, clipped, fitText } from "./dom.js";

/** Where a value lies on its scale: 0 to 1 from the ground, below 0 where it is coloured as a negative one. */
export function heatShare(value, { kind, limits: [low, high] }) {
  if (kind === "signed") return value / high;
  if (kind !== "log") return value / high;
  if (!(value > 0)) return 0;
  return high > low ? Math.log(value / low) / Math.log(high / low) : 1;
}

/** A value in a few letters, rounded to `digits` significant places: 1234 -> "1.2k", 0.0123 -> ".012". */
export function shortValue(value, digits) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size < 1e-3 || size >= 1e15) return value.toExponential(0).replace("e+", "e");
  const step = Math.min(4, Math.floor(Math.log10(Number(size.toPrecision(digits))) / 3));
  const scaled = step > 0 ? value / 1000 ** step : value;
  const rounded = Number(scaled.toPrecision(digits));
  const text = Math.abs(rounded) >= 10 ** digits ? scaled.toFixed(0) : String(rounded);
  return text.replace(/^(-?)0\./, "$1.") + (step > 0 ? "kMGT"[step - 1] : "");
}

/** A value in full: to three decimals, small and very large ones to the places that 32 bits hold. */
export function exactValue(value) {
  const size = Math.abs(value);
  if (size === 0 || (size >= 0.1 && size < 10000)) return value.toFixed(3);
  if (size < 0.1) return size < 1e-6 ? value.toExponential(2) : value.toPrecision(3);
  return value.toPrecision(7);
}

/** The sheet of that name, or the first one. */
export function chosenSheet(sheets, name) {
  const place = sheets.findIndex((sheet) => sheet.name === name);
  return Math.max(0, place);
}

/** Both ends of the scale with their unit; a limit that some values pass says so. */
export function heatEnds({ kind, unit, limits: [low, high], clipped: [under, over] }) {
  const ends = [kind === "log" || kind === "signed" ? shortValue(low, 3) : "0", shortValue(high, 3)];
  return [(under ? "≤" : "") + ends[0], `${over ? "≥" : ""}${ends[1]}${unit ? ` ${unit}` : ""}`];
}

/** The colours of a sheet from its low to its high end, for the legend. */
export function heatColours({ kind }, { fills, above, below }) {
  if (kind !== "signed") return [0, 51, 102, 153, 204, 255].map((place) => fills[place]);
  return [...[255, 170, 85, 0].map((place) => below.fills[place]), ...[85, 170, 255].map((place) => above.fills[place])];
}

/** Diagonal lines for a cell that has no value. */
export function hatch(context, left, top, width, height, colour) {
  clipped(context, [left, top, width, height], () => {
    context.strokeStyle = colour;
    context.lineWidth = 1;
    context.beginPath();
    for (let x = left - height; x < left + width; x += 6) {
      context.moveTo(x, top + height);
      context.lineTo(x + height, top);
    }
    context.stroke();
  });
}

/** Paints the cells of a layer grid; the scene has `{values, held, sheet, labels, palette, texts}`. */
export function paintHeat(context, { values, held, sheet, labels, palette, texts }, { row, column }, each) {
  context.font = `${typeSize(palette, Math.max(9, Math.min(11, row - 3)))} ${palette.font}`;
  const signed = sheet.kind === "signed";
  each((layer, c, left, top, height) => {
    const cell = held.get(layer) * labels.length + c;
    const value = values[cell];
    const [width, filled] = [column - 1, height - (height > 16 ? 1 : 0)];
    if (!Number.isFinite(value)) {
      hatch(context, left, top, width, filled, palette.hatch);
      return;
    }
    const share = heatShare(value, sheet);
    const colours = !signed ? palette : share < 0 ? palette.below : palette.above;
    const tint = shade(Math.abs(share) * (signed || share > 0 ? 1 : 0));
    context.fillStyle = colours.fills[tint];
    context.fillRect(left, top, width, filled);
    const text = texts.words ? fitText(context, cellWord(texts.words(cell)), width - 2) : shortValue(value, sheet.digits);
    // A number that is cut would be another number.
    if (!texts.words && context.measureText(text).width > width - 2) return;
    context.fillStyle = colours.inks[tint];
    context.fillText(text, left + width / 2, top + height / 2 + 0.5);
  });
}
