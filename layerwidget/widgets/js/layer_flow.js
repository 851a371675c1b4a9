// What is inside a layer, as a flow: the stream runs upward, branches leave it, pass through their parts and are added.

import { KEYS, element } from "./dom.js";
import { costLines, costs, longAmount, mainOf, normsTitle, stepGroups, weightLines } from "./map_words.js";

const span = (name, words, attributes = {}) => element("span", { ...attributes, class: `lw-map-${name}` }, words);
const titled = (words) => words[0].toUpperCase() + words.slice(1).replace(/ +/g, " ");

/** A path in two: its last name, and what gives way where there is no room. */
export function pathParts(path) {
  const cut = Math.max(path.lastIndexOf(".") + 1, path.length - 28);
  return [path.slice(0, cut), path.slice(cut)];
}

function pathText(path) {
  const [head, tail] = pathParts(path);
  // Whole letters, so that the dots stand right before the last name.
  const room = `max-width:calc(round(down, 100% - ${tail.length}ch, 1ch) + 0.5px)`;
  return element("span", { class: "lw-map-path", title: path }, span("path-head", head, { style: room }), span("path-tail", tail));
}

/** A path that goes on to the next line after a point or an underscore. */
function brokenPath(path, text) {
  const pieces = text.split(/(?<=[._])/).flatMap((piece) => [piece, element("wbr")]);
  return element("span", { class: "lw-map-path lw-map-broken", title: path }, ...pieces);
}

function weightList(one) {
  const texts = weightLines(one);
  // As many columns as have room for the longest line.
  const longest = (key) => Math.max(0, ...texts.map((line) => line[key].length));
  const widths = `--lw-map-name:${longest("name") + 2}ch;--lw-map-column:${longest("name") + longest("text") + 2}ch`;
  const lines = texts.map(({ name, text, title }) =>
    element("div", { class: "lw-map-weight", title }, span("weight-name", name), span("weight-shape", text)));
  const many = lines.length > 4 ? " lw-map-many" : "";
  return lines.length ? element("div", { class: `lw-map-weights${many}`, style: widths }, ...lines) : null;
}

/** One part: what it is, facts, where it is in the model, its parameters. In a layer, norms are named from `home` on. */
function card(one, home = null) {
  const narrow = one.kind === "norm" && home !== null && one.module.startsWith(home);
  const path = narrow ? brokenPath(one.module, one.module.slice(home.length)) : pathText(one.module);
  const factor = one.kind === "scale" && !one.module ? " lw-map-factor" : "";
  const amount = longAmount(one.n_params);
  const size = one.n_params ? span("card-size", amount, { title: `${amount} parameters` }) : null;
  return element(
    "div", { class: `lw-map-card lw-map-kind-${one.kind}${factor}` },
    element("div", { class: "lw-map-card-head" }, element("b", {}, one.title), size),
    one.kind === "cross_attention" ? element("div", { class: "lw-map-from" }, "reads the encoder’s output") : null,
    one.details.length ? element("div", { class: "lw-map-fact" }, one.details.join(" · ")) : null,
    one.module ? path : null,
    weightList(one),
  );
}

/** A branch from where it leaves the stream to where its output goes back. */
function lane(step, home) {
  const cards = step.elements.flatMap((one, place) => [span(place ? "wire" : "lead", ""), card(one, home)]);
  return element("div", { class: "lw-map-lane" }, ...cards, span("out", ""));
}

const OUTPUTS = { attention: "attn_out", mlp: "mlp_out" };

/** Branches that leave at the same place and are added together; or a part on the stream itself. */
function group(steps, names, home) {
  if (steps[0].kind === "trunk") return element("div", { class: "lw-map-on-trunk" }, ...steps[0].elements.map((one) => card(one)));
  const added = steps.map((step) => names.get(step)).filter(Boolean).join(" + ");
  return element(
    "div", { class: "lw-map-group" },
    element("div", { class: "lw-map-return" }, span("plus", "", { role: "img", "aria-label": "added to the stream" }), span("added", added)),
    element("div", { class: steps.length > 1 ? "lw-map-lanes lw-map-parallel" : "lw-map-lanes" }, ...steps.map((step) => lane(step, home))),
  );
}

/** The name that the lens gives to what a branch adds, where the layer has one such branch. */
function outputNames(steps) {
  const branches = steps.filter((step) => step.kind === "branch");
  const alone = (step) => branches.filter((other) => mainOf(other).kind === mainOf(step).kind).length === 1;
  return new Map(branches.filter(alone).map((step) => [step, OUTPUTS[mainOf(step).kind]]));
}

/** A place where the stream enters or leaves the picture; it leads on to the neighbour, where there is one. */
function hop(side, text, name, go) {
  const words = go ? element("button", { ...KEYS, type: "button", class: "lw-map-hop-button", onclick: go }, text) : element("span", {}, text);
  const parts = name ? [words, span("arrow", "→"), span("stream", name)] : [words];
  return element("div", { class: `lw-map-hop lw-map-hop-${side}` }, ...(side === "to" ? parts.reverse() : parts));
}

function header(title, tags, path, facts, close) {
  return element(
    "div", { class: "lw-map-head" }, span("head-title", title),
    ...tags.filter(Boolean).map((tag) => element("span", { class: "lw-tag" }, tag)),
    path ? pathText(path) : element("span", { class: "lw-gap" }), span("head-facts", facts),
    element("button", { ...KEYS, type: "button", class: "lw-map-close", title: "Back to the whole model", "aria-label": "Close", onclick: close }, "×"),
  );
}

function flow(steps, from, to, home = null) {
  const names = outputNames(steps);
  const groups = stepGroups(steps).map((one) => group(one, names, home));
  return element("div", { class: "lw-map-scroll" }, element("div", { class: "lw-map-flow" }, from, ...groups, to));
}

/** The inside of one layer. `stack` is the map or its encoder, `go` opens a place of the same stack. */
export function layerPane(stack, layer, { kind, band, go, close }) {
  const number = layer.layer;
  const facts = `${longAmount(layer.n_params)} parameters · ${layer.device}`;
  const neighbour = (side, name, next, end, beyond) => {
    if (stack.layers[next]) return hop(side, `layer ${next}`, name, () => go({ layer: next }));
    return hop(side, beyond?.title ?? "what is beyond the layers", name, beyond && (() => go({ end })));
  };
  const from = neighbour("from", "resid_pre", number - 1, "before", stack.before.at(-1));
  const to = neighbour("to", "resid_post", number + 1, "after", stack.after[0]);
  to.append(span("costs", costs(layer).join(" · "), { title: costLines(layer).join("\n") }));
  const head = header(titled(`${kind} layer ${number}`.trim()), [band, normsTitle(layer.norms)], layer.module, facts, close);
  if (layer.steps.length) return [head, flow(layer.steps, from, to, `${layer.module}.`)];
  const reason = element("div", {}, element("b", {}, "This layer could not be taken apart."), element("div", {}, layer.trouble));
  return [head, element("div", { class: "lw-map-scroll" }, element("div", { class: "lw-placeholder" }, reason))];
}

/** What is before the first layer or after the last one. */
export function endPane(stack, end, { kind, goal, source, go, close }) {
  const last = stack.layers.length - 1;
  const parts = stack[end];
  const total = longAmount(parts.reduce((sum, one) => sum + one.n_params, 0));
  const steps = parts.map((one) => ({ kind: "trunk", elements: [one] }));
  const [from, to] = end === "before"
    ? [hop("from", source), hop("to", "layer 0", "resid_pre", () => go({ layer: 0 }))]
    : [hop("from", `layer ${last}`, "resid_post", () => go({ layer: last })), hop("to", goal)];
  const title = end === "before" ? titled(`before ${kind} layer 0`) : titled(`after ${kind} layer ${last}`);
  const tied = end === "after" && stack.tied ? "head tied to the embedding" : "";
  return [header(title, [tied], "", `${total} parameters`, close), flow(steps, from, to)];
}
