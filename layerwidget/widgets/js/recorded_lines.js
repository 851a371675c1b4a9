// Lines over layers from recorded numbers, in axes that Python has drawn.

import { element } from "./dom.js";
import { followedPlace } from "./pinned_words.js";

const NAMESPACE = "http://www.w3.org/2000/svg";

/** Runs of `[layer, value]` without a gap; a logarithmic scale has no place for what is not above 0. */
export function linePieces(layers, values, log) {
  const pieces = [[]];
  layers.forEach((layer, place) => {
    const value = values[place];
    if (Number.isFinite(value) && (value > 0 || !log)) pieces.at(-1).push([layer, value]);
    else if (pieces.at(-1).length) pieces.push([]);
  });
  return pieces.filter((piece) => piece.length);
}

/** The height of a value, by what both ends of the axis stand for. */
export function heightOf(value, { low, high, yLow, yHigh, log }) {
  const share = log ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low);
  return yLow + share * (yHigh - yLow);
}

/** The lines of a sheet: `values` has the shape [curve, layer, position]. */
export function sheetCurves({ layers, names, colours }, { data, shape }, position) {
  const [, rows, positions] = shape;
  const at = Math.min(position, positions - 1);
  return names.map((name, curve) => ({
    name, colour: colours[curve], layers,
    values: layers.map((_, row) => data[(curve * rows + row) * positions + at]),
  }));
}

/**
 * The lines of pinned words at a position; `values` is null of those that nothing was recorded of there.
 *
 * `words` is what a figure says of words in general; `arrays` has the numbers.
 */
export function pinnedCurves(words, arrays, tokens, quantity, position) {
  const { layers, n_pos: count, tokens: asked } = words;
  const at = Math.min(position, count - 1);
  const ranks = quantity === "rank";
  const read = (array, width, place) => layers.map((_, row) => array.data[(row * count + at) * width + place]);
  return tokens.map((id, index) => {
    const curve = { name: words.visible[id] ?? `#${id}`, colour: words.colours[index], layers, values: null };
    const place = asked.indexOf(id);
    if (place >= 0) {
      const found = read(ranks ? arrays.token_ranks : arrays.token_log_probs, asked.length, place);
      return { ...curve, values: found.map((value) => (ranks ? value + 1 : Math.exp(value))) };
    }
    const followed = arrays.followed_ids ? followedPlace(arrays.followed_ids, at, id) : -1;
    if (followed < 0) return curve;
    const found = read(ranks ? arrays.followed_ranks : arrays.followed_probs, arrays.followed_ids.shape[1], followed);
    // Of the probability, thousandths are known and nothing beyond.
    return ranks ? { ...curve, values: found.map((value) => value + 1) }
      : { ...curve, values: found.map((value) => value / 1000), say: (value) => value.toFixed(3) };
  });
}

/** An SVG element with attributes. */
export function shape(name, attributes) {
  const node = document.createElementNS(NAMESPACE, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
}

/** What a frame says of its axes. */
export function axesOf(svg) {
  const { x0, step, low, high, yLow, yHigh, log } = Object.fromEntries(Object.entries(svg.dataset).map(([name, text]) => [name, Number(text)]));
  return { x0, step, low, high, yLow, yHigh, log: log === 1 };
}

/** Draws lines into a frame, with a dot for each value. */
export function drawLines(svg, curves) {
  const { x0, step, ...ends } = axesOf(svg);
  const inside = svg.querySelector(".lw-inside");
  for (const [curve, { name, colour, layers, values, say }] of curves.entries()) {
    if (!values) continue;
    const pieces = linePieces(layers, values, ends.log)
      .map((piece) => piece.map(([layer, value]) => ({ layer, value, x: x0 + layer * step, y: heightOf(value, ends) })));
    for (const piece of pieces.filter((one) => one.length > 1)) {
      const path = `M${piece.map(({ x, y }) => `${x.toFixed(2)},${y.toFixed(2)}`).join("L")}`;
      inside.append(shape("path", { d: path, fill: "none", stroke: colour, "stroke-width": 2, "stroke-linejoin": "round" }));
    }
    for (const { layer, value, x, y } of pieces.flat()) {
      inside.append(shape("circle", {
        cx: x.toFixed(2), cy: y.toFixed(2), r: 2.3, fill: colour, "data-curve": curve, "data-layer": layer, "data-name": name, "data-value": Number(value.toPrecision(9)),
        ...(say && { "data-said": say(value) }),
      }));
    }
  }
}

/** A dot and a name for each line; of a word without one, that it was not recorded. */
export function curveLegend(curves) {
  return curves.filter(({ name }) => name).map(({ name, colour, values }) => {
    const dot = element("span", { class: "lw-curve-dot" }, "●");
    dot.style.color = values ? colour : "";
    return element("span", { class: values ? "" : "lw-unrecorded" }, dot, values ? name : `${name}: not recorded here`);
  });
}
