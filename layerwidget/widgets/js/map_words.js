// What the layer map says and how it groups things: pure functions, tested with node.

const UNITS = [[1e12, "T"], [1e9, "B"], [1e6, "M"], [1e3, "k"]];

/** Three places and a unit: 3540672 -> "3.54M". */
export function shortAmount(count) {
  for (const [size, unit] of UNITS) {
    // 999,950 is "1.00M" and not "1000k".
    if (count >= size * 0.9995) return `${(count / size).toPrecision(3).replace(/e.*/, "")}${unit}`;
  }
  return String(count);
}

/** 3540672 -> "3,540,672", in every country alike. */
export function longAmount(count) {
  return String(count).replace(/\B(?=(\d{3})+$)/g, ",");
}

const PREFIXES = [[1e15, "P"], [1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]];

/** Three places, a prefix and a unit: (7077888, "FLOP") -> "7.08 MFLOP". */
export function measured(count, unit) {
  for (const [size, prefix] of PREFIXES) {
    if (count >= size * 0.9995) return `${(count / size).toPrecision(3).replace(/e.*/, "")} ${prefix}${unit}`;
  }
  return `${count} ${unit}`;
}

/** What a token costs in a layer, or in the model: `["7.08 MFLOP/token", "768 B/token"]`; what is not known is left out. */
export function costs({ flops_per_token: flops, cache_bytes_per_token: bytes, state_bytes: state }) {
  const known = (count) => count !== null && count !== undefined;
  const kept = known(bytes) && (bytes || !state) ? `cache ${measured(bytes, "B")}/token` : "";
  return [known(flops) ? `${measured(flops, "FLOP")}/token` : "", kept, state ? `state ${measured(state, "B")}` : ""].filter(Boolean);
}

/** The same in whole numbers and sentences, a line each, with what is left out. */
export function costLines({ flops_per_token: flops, flops_per_key: perKey, cache_bytes_per_token: bytes, cache_limit: limit, state_bytes: state, notes = [] }) {
  const known = (count) => count !== null && count !== undefined;
  return [
    known(flops) ? `${longAmount(flops)} floating-point operations per token in products with weights` : "",
    perKey ? `${longAmount(perKey)} more in attention for each position that the token looks at` : "",
    bytes ? `${longAmount(bytes)} bytes of cache per token${limit ? `, of the last ${longAmount(limit)} tokens` : ""}` : "",
    state ? `${longAmount(state)} bytes of state, whatever the length` : "",
    ...notes,
  ].filter(Boolean);
}

/** The band of a layer, as the slider counts: early below a quarter of the depth, late from three quarters. */
export function bandOf(layer, count) {
  const depth = count > 1 ? layer / (count - 1) : 0;
  if (depth < 0.25) return "early";
  return depth < 0.75 ? "middle" : "late";
}

/** First and last layer of each band that holds one: `[["early", 0, 7], ...]`. */
export function bandEnds(count) {
  const ends = new Map();
  for (let layer = 0; layer < count; layer += 1) {
    const band = bandOf(layer, count);
    ends.set(band, [ends.get(band)?.[0] ?? layer, layer]);
  }
  return [...ends].map(([name, [first, last]]) => [name, first, last]);
}

/** The element that gives a step its name: the sublayer of a branch. */
export function mainOf(step) {
  return step.elements.find((one) => one.kind !== "norm" && one.kind !== "scale") ?? step.elements[0];
}

/** Steps in the order in which they run; branches that read the same stream stand together. */
export function stepGroups(steps) {
  const groups = [];
  for (const step of steps) {
    const last = groups.at(-1);
    if (step.parallel && last?.[0].kind === "branch") last.push(step);
    else groups.push([step]);
  }
  return groups;
}

/** Which column of the stack a branch stands in: what mixes positions, what looks at the encoder, what does not mix. */
export function columnOf(step) {
  const { kind } = mainOf(step);
  if (kind === "cross_attention") return 1;
  return kind === "mlp" ? 2 : 0;
}

/** A layer's branches by column. */
export function branchColumns({ steps }) {
  const columns = [[], [], []];
  for (const step of steps) if (step.kind === "branch") columns[columnOf(step)].push(step);
  return columns;
}

/** The word for a branch where there is little room. */
export function chipWord(step) {
  const main = mainOf(step);
  return main.kind === "cross_attention" ? "cross" : main.title;
}

/** The first fact about a branch, where it is short enough. */
export function chipFact(step, letters) {
  const [fact = ""] = mainOf(step).details;
  return fact.length <= letters ? fact : "";
}

/** Branches of a layer that are read as "beside": all of a parallel group but the one that is drawn first. */
export function besideSteps({ steps }) {
  const groups = stepGroups(steps).map((group) => [...group].sort((a, b) => columnOf(a) - columnOf(b)));
  return new Set(groups.flatMap((group) => group.slice(1)));
}

/** How wide each column is beside the others: by the words of the layer that needs most; 0 where no layer has any. */
export function columnShares(layers, factLines) {
  const longest = (step) => Math.max(chipWord(step).length, chipFact(step, 20 * factLines).length / Math.max(1, factLines));
  const letters = (branches) => branches.reduce((sum, step) => sum + 4 + Math.min(20, longest(step)), 0);
  return [0, 1, 2].map((column) => Math.max(0, ...layers.map((layer) => letters(branchColumns(layer)[column]))));
}

const NORMS = { pre: "norm before", post: "norm on the stream", sandwich: "norm before and after", none: "no norm" };

/** Where norms sit, in words. */
export function normsTitle(norms) {
  return NORMS[norms] ?? "";
}

/** What a layer consists of, in one line; layers that say the same are alike. */
export function layerTitle(layer) {
  if (layer.trouble || !layer.steps.length) return "not taken apart";
  const groups = stepGroups(layer.steps.filter((step) => step.kind === "branch"));
  const parts = groups.map((group) => group.map((step) => mainOf(step).title).join(" ∥ "));
  return [...parts, normsTitle(layer.norms)].filter(Boolean).join(" · ");
}

/** Kinds of layers, most frequent first: `[{title, layers, norms, n_params}]`. */
export function layerKinds(layers) {
  const kinds = new Map();
  for (const layer of layers) {
    const title = layerTitle(layer);
    const kind = kinds.get(title) ?? { title, layers: [], n_params: 0 };
    kind.layers.push(layer.layer);
    kind.n_params += layer.n_params;
    kinds.set(title, kind);
  }
  return [...kinds.values()].sort((a, b) => b.layers.length - a.layers.length);
}

const shapeText = (shape) => (shape.length ? shape.map(longAmount).join(" × ") : "1 number");

/**
 * Parameters by the module that holds them, with paths inside the element: `[{name, text, title}]`.
 *
 * Siblings that differ only in a number (experts) share a line.
 */
export function weightLines({ module, weights }) {
  const lines = new Map();
  for (const { path, shape } of weights) {
    const inner = module && path.startsWith(`${module}.`) ? path.slice(module.length + 1) : path;
    const [, holder, leaf] = /^(?:(.+)\.)?(weight|bias)$/.exec(inner) ?? [];
    const name = (holder ?? inner).replace(/(^|\.)\d+(?=\.|$)/g, "$1*");
    const line = lines.get(name) ?? { name, shapes: new Map(), paths: [] };
    const text = `${holder && leaf === "bias" ? "bias " : ""}${shapeText(shape)}`;
    line.shapes.set(text, (line.shapes.get(text) ?? 0) + 1);
    line.paths.push(`${path}  ${shapeText(shape)}`);
    lines.set(name, line);
  }
  return [...lines.values()].map(({ name, shapes, paths }) => ({
    name,
    text: [...shapes].map(([text, times]) => (times > 1 ? `${times} of ${text}` : text)).join(" + "),
    title: paths.length > 12 ? [...paths.slice(0, 11), `… and ${paths.length - 11} more`].join("\n") : paths.join("\n"),
  }));
}

/** The range after one step with Shift: the end on which the layer stands moves, else a new range starts there. */
export function extendedRange(numbers, layer, step, count) {
  const [first, last] = [numbers[0], numbers.at(-1)];
  const anchor = { [first]: last, [last]: first }[layer] ?? layer;
  const next = Math.min(count - 1, Math.max(0, layer + step));
  return { layer: next, range: [Math.min(anchor, next), Math.max(anchor, next)] };
}

/** A range as a selection text. */
export function rangeText([first, last]) {
  return first === last ? String(first) : `${first}-${last}`;
}

const SHARES = [["embedding", "embedding"], ["attention", "attention"], ["cross_attention", "cross-attention"], ["mixer", "mixers"], ["mlp", "FFN"], ["norm", "norms"], ["head", "head"]];

/**
 * Where the model's numbers are: `[{name, n_params}]`, in the order of the model.
 *
 * A parameter counts once, by its path; what no part of the map holds comes last.
 */
export function parameterShares(map) {
  const seen = new Set();
  const sums = new Map();
  const count = ({ kind, weights }) => {
    for (const { path, shape } of weights) {
      if (seen.has(path)) continue;
      seen.add(path);
      sums.set(kind, (sums.get(kind) ?? 0) + shape.reduce((product, size) => product * size, 1));
    }
  };
  for (const stack of [map, map.encoder].filter(Boolean)) {
    stack.before.forEach(count);
    for (const { steps } of stack.layers) for (const step of steps) step.elements.forEach(count);
    for (const one of stack.after) if (!(map.tied && one.kind === "head")) count(one);
  }
  const shares = SHARES.map(([kind, name]) => ({ name, n_params: sums.get(kind) ?? 0 }));
  const rest = map.n_params - shares.reduce((sum, share) => sum + share.n_params, 0);
  return [...shares, { name: "other parts", n_params: Math.max(0, rest) }].filter((share) => share.n_params > 0);
}
