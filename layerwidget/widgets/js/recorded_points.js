// What can be pointed at in a figure of a page: the values of each curve or kind of bar, by pointer and by key.

import { exactValue } from "./heat_cells.js";

/** A value in full; what is counted, such as a rank, without decimals. */
export function writtenValue(value) {
  return Number.isInteger(value) && Math.abs(value) > 1 ? String(value) : exactValue(value);
}

/**
 * The curves of `[{curve, name, layer, value, said}]`: `[{name, points}]`, each with its points from left to right.
 *
 * `curve` tells two of the same name apart, where they are lines; bars of a layer are told apart by their names.
 */
export function curvesOfMarks(marks) {
  const held = new Map();
  for (const { curve, name = "", layer, value, said, ...more } of marks) {
    const key = curve ?? name;
    if (!held.has(key)) held.set(key, { name, points: [] });
    held.get(key).points.push({ ...more, layer: Number(layer), said: said ?? writtenValue(Number(value)), value });
  }
  const curves = [...held.values()];
  for (const { points } of curves) points.sort((one, other) => one.layer - other.layer);
  return curves;
}

/** What is drawn in a figure, as marks: dots and bars, and lines of which Python says what they go through. */
export function drawnMarks(svg) {
  const marks = [...svg.querySelectorAll("[data-value][data-layer]")].map((node) => ({ ...node.dataset, node }));
  for (const node of svg.querySelectorAll("[data-values]")) {
    const [layers, values] = [node.dataset.layers, node.dataset.values].map((text) => text.split(" "));
    layers.forEach((layer, place) => marks.push({ curve: `line ${node.dataset.name}`, name: node.dataset.name, layer, value: values[place], node }));
  }
  return marks;
}

/** How far a ring stands away from what it is around, in px. */
const APART_PX = 3;

/** The ring around a point: around a dot or bar, or, of a line without dots, where `heightAt` says that its value is. */
export function ringBox({ node, layer, value }, { x0, step }, heightAt) {
  const read = (name) => Number(node.getAttribute(name));
  if (node.tagName === "rect") return [read("x"), read("y"), read("width"), read("height")];
  const [x, y] = node.tagName === "circle" ? [read("cx"), read("cy")] : [Number(x0) + layer * Number(step), heightAt(Number(value))];
  const radius = read("r") || 2;
  return [x - radius, y - radius, 2 * radius, 2 * radius];
}

/** The attributes of a rounded rectangle around such a box. */
export function ringAround([x, y, width, height]) {
  const round = (value) => value.toFixed(2);
  return { x: round(x - APART_PX), y: round(y - APART_PX), width: round(width + 2 * APART_PX), height: round(height + 2 * APART_PX), rx: APART_PX + 2 };
}
