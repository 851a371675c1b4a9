// Colours: blue is data, orange is "you are here", grey is structure. Zero looks like the ground. What has a sign is
// blue above zero and yellow-green below: as light as each other at every step, and apart for every eye.

const LIGHT_RAMP = ["#e3e9ff", "#bccafd", "#8aa2f7", "#5573ea", "#3550c9", "#24389a", "#18266b"];
const DARK_RAMP = ["#1d2947", "#26407f", "#3559bb", "#5a7fe6", "#8ea9f5", "#c2d0fb", "#f2f5ff"];
const LIGHT_BELOW = ["#eaecd5", "#cdd29b", "#a9af48", "#828606", "#626504", "#474a00"];
const DARK_BELOW = ["#2b2d05", "#464800", "#636702", "#898d07", "#aeb359"];

function parseColour(text) {
  const match = /^#(..)(..)(..)$/.exec(text);
  if (match) return match.slice(1).map((part) => parseInt(part, 16));
  const numbers = text.match(/[\d.]+/g);
  return numbers ? numbers.slice(0, 3).map(Number) : [255, 255, 255];
}

function linear(channel) {
  const share = channel / 255;
  return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
}

/** WCAG relative luminance, 0 to 1. */
export function luminance([red, green, blue]) {
  return 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue);
}

/** 256 colours from the ground through the stops. */
export function makeRamp(ground, stops) {
  const points = [ground, ...stops.map(parseColour)];
  return Array.from({ length: 256 }, (_, index) => {
    const place = (index / 255) * (points.length - 1);
    const left = Math.min(points.length - 2, Math.floor(place));
    return points[left].map((channel, c) => Math.round(channel + (points[left + 1][c] - channel) * (place - left)));
  });
}

/** Both halves of the map for values with a sign. They end where the two colours can still be told apart. */
export function signedRamps(ground, dark) {
  const below = dark ? DARK_BELOW : LIGHT_BELOW;
  const above = (dark ? DARK_RAMP : LIGHT_RAMP).slice(0, below.length);
  return { above: makeRamp(ground, above), below: makeRamp(ground, below) };
}

/** A ramp as colours to fill with, and to write on them with. */
function painted(ramp) {
  return {
    ramp,
    fills: ramp.map(([red, green, blue]) => `rgb(${red},${green},${blue})`),
    inks: ramp.map((colour) => (luminance(colour) > 0.179 ? "#000" : "#fff")),
  };
}

/** Every colour that a view draws with, read from the page's theme as it is now; `last` where nothing has changed. */
export function readPalette(node, last) {
  const style = getComputedStyle(node);
  // A canvas knows the system's colours by name, but not whether they are the dark ones.
  const system = { CanvasText: style.color, Canvas: style.backgroundColor };
  const variable = (name) => {
    const value = style.getPropertyValue(name).trim();
    return system[value] ?? value;
  };
  const look = {
    ground: style.backgroundColor,
    ink: style.color,
    muted: variable("--lw-muted"),
    line: variable("--lw-line"),
    band: variable("--lw-band"),
    edge: variable("--lw-edge"),
    hatch: variable("--lw-hatch"),
    accent: variable("--lw-accent"),
    font: style.fontFamily,
    mono: variable("--lw-mono"),
    least: parseFloat(variable("--lw-least-type")) || 0,
  };
  const key = JSON.stringify(look);
  if (last?.key === key) return last;
  const ground = parseColour(look.ground);
  const dark = luminance(ground) < 0.18;
  const { above, below } = signedRamps(ground, dark);
  return { ...look, key, ...painted(makeRamp(ground, dark ? DARK_RAMP : LIGHT_RAMP)), above: painted(above), below: painted(below) };
}

/** The size of type on a canvas: at least what the preset calls readable. */
export function typeSize({ least = 0 }, size) {
  return `${Math.max(size, least)}px`;
}

/** Index into the ramp of a share between 0 and 1; anything else is clipped. */
export function shade(share) {
  return share > 0 ? Math.min(255, Math.round(share * 255)) : 0;
}
