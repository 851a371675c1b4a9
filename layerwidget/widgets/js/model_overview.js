// The whole model in one pane of the layer map: which kinds of layers it has, and where its numbers are.

import { KEYS, element } from "./dom.js";
import { costLines, costs, layerKinds, longAmount, mainOf, parameterShares, shortAmount } from "./map_words.js";
import { layersTitle } from "./rows.js";

function share({ name, n_params }, total, largest) {
  const percent = (100 * n_params) / total;
  const number = (text) => element("span", { class: "lw-number" }, text);
  const bar = element("span", { class: "lw-bar-fill", style: `width:${(100 * n_params) / largest}%` });
  return element(
    "div", { class: "lw-map-share", title: `${longAmount(n_params)} parameters` },
    element("span", {}, name), element("span", { class: "lw-bar-track" }, bar),
    number(shortAmount(n_params)), number(percent < 0.05 ? "< 0.1 %" : `${percent.toFixed(1)} %`),
  );
}

function kindLine(kind, total, go) {
  const numbers = kind.layers.length === total ? `all ${total} layers` : layersTitle(kind.layers);
  return element(
    "button", { ...KEYS, type: "button", class: "lw-map-sort", title: "Open the first of them", onclick: () => go({ layer: kind.layers[0] }) },
    element("span", { class: "lw-map-sort-count" }, `${kind.layers.length} ×`),
    element("span", { class: "lw-map-sort-title" }, kind.title),
    element("span", { class: "lw-map-sort-layers" }, numbers),
  );
}

function section(title, ...children) {
  return element("div", { class: "lw-map-section" }, element("div", { class: "lw-map-section-title" }, title), ...children);
}

/** A sign of the stack and what it stands for. */
function sign(picture, words) {
  return element("div", { class: "lw-map-sign" }, element("span", { class: "lw-map-sign-picture" }, ...picture), element("span", {}, words));
}

/** How to read the stack: only the signs that this model's stacks have. */
function legend(maps) {
  const steps = maps.flatMap((map) => map.layers.flatMap((layer) => layer.steps));
  const branches = steps.filter((step) => step.kind === "branch");
  const has = (kind) => branches.some((step) => mainOf(step).kind === kind);
  const signs = [
    [true, "lw-map-sign-ring", "something is added to the stream"],
    [branches.length < steps.length, "lw-map-sign-bar", "the stream itself is normed or scaled"],
    [branches.some((step) => step.elements.some((one) => one.kind === "norm")), "lw-map-tick", "a norm, before or after its neighbour"],
    [has("mixer"), "lw-map-chip lw-map-kind-mixer", "mixes positions without attention"],
    [has("cross_attention"), "lw-map-chip lw-map-kind-cross_attention", "reads the encoder’s output"],
    [true, "lw-map-sign-in", "in view"],
    [true, "lw-map-sign-here", "the chosen layer"],
  ];
  const shown = signs.filter(([seen]) => seen).map(([, name, words]) => sign([element("span", { class: name })], words));
  if (steps.some((step) => step.parallel)) shown.push(sign(["∥"], "reads the same stream as its neighbour"));
  return section("How to read the stack", element("div", { class: "lw-map-signs" }, ...shown));
}

/** `stacks`: `[{title, map, go}]`, one for each stack of layers. */
export function overviewPane(map, stacks) {
  const shares = parameterShares(map);
  const largest = Math.max(...shares.map((one) => one.n_params));
  // A token of the encoder costs something else: its layers say what.
  const told = map.encoder ? costs(map).map((cost) => `decoder ${cost}`).slice(0, 1) : costs(map);
  const more = costLines(map).join("\n");
  const facts = element("span", { class: "lw-map-head-facts", title: more }, [`${longAmount(map.n_params)} parameters`, ...told].join(" · "));
  const title = element("span", { class: "lw-map-head-title" }, "The whole model");
  const head = element("div", { class: "lw-map-head" }, title, element("span", { class: "lw-gap" }), facts);
  const kinds = ({ title: name, map: { layers }, go }) => section(name, ...layerKinds(layers).map((kind) => kindLine(kind, layers.length, go)));
  return [head, element(
    "div", { class: "lw-map-scroll lw-map-overview" },
    ...stacks.map(kinds),
    section("Where its parameters are", ...shares.map((one) => share(one, Math.max(1, map.n_params), largest))),
    legend(stacks.map((one) => one.map)),
    element("div", { class: "lw-map-hint" }, "Click a layer, or press Enter on it, to see what is inside. Drag over layers to bring them into view."),
  )];
}
