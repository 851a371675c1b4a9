// The model drawn as the stack it is, and the inside of the layer that is open.

import { shareTraits } from "./bus.js";
import { element, onFrame, pointIn, setFacts, watchLook, zoomOf } from "./dom.js";
import { endPane, layerPane } from "./layer_flow.js";
import { makeStack, stackHeight } from "./layer_stack.js";
import { bandOf, extendedRange, longAmount, rangeText } from "./map_words.js";
import { overviewPane } from "./model_overview.js";
import { layerNumbers, layersTitle } from "./rows.js";
import { withStore } from "./store.js";

const LOW = 560;
const HIGH = 640;
const NARROW = 900;
const SVG_SPACE = "http://www.w3.org/2000/svg";
const KEY_STEPS = { ArrowUp: 1, ArrowDown: -1, PageUp: 5, PageDown: -5, Home: -1e6, End: 1e6 };

function buildPage(el) {
  const wedge = document.createElementNS(SVG_SPACE, "svg");
  wedge.setAttribute("class", "lw-map-wedge");
  wedge.setAttribute("aria-hidden", "true");
  wedge.append(document.createElementNS(SVG_SPACE, "path"));
  const page = {
    detail: element("span", { class: "lw-detail" }),
    view: element("span", { class: "lw-map-view" }),
    body: element("div", { class: "lw-map-body", style: `height:${LOW}px` }),
    stacks: element("div", { class: "lw-map-stacks" }),
    wedge,
    pane: element("div", { class: "lw-map-pane", role: "region", "aria-label": "What is open" }),
    empty: element("div", { class: "lw-placeholder" }, "The model’s layers appear here."),
  };
  el.classList.add("lw", "lw-map");
  el.append(
    element("div", { class: "lw-bar" }, element("span", { class: "lw-title" }, "Model map"), page.detail, page.view),
    page.body);
  page.body.append(page.stacks, wedge, page.pane, page.empty);
  return page;
}

/** Clicks, drags and keys on the rows of one stack. */
function listenTo(stack, { pick, drag, toggle, step }) {
  const { list } = stack;
  let start = null;
  let moved = false;
  list.addEventListener("pointerdown", (event) => {
    // Beside the rows is the scroll bar.
    if (event.button !== 0 || pointIn(list, event)[0] > list.clientWidth) return;
    list.setPointerCapture(event.pointerId);
    [start, moved] = [stack.layerAt(event.clientY), false];
  });
  list.addEventListener("pointermove", (event) => {
    if (start === null) return;
    const layer = stack.layerAt(event.clientY);
    if (layer !== start) moved = true;
    if (!moved || !drag) return;
    stack.reveal(layer);
    drag([Math.min(start, layer), Math.max(start, layer)], true);
  });
  const release = (event) => {
    if (start === null) return;
    const layer = stack.layerAt(event.clientY);
    if (moved && drag) drag([Math.min(start, layer), Math.max(start, layer)], false);
    else if (event.type === "pointerup") pick(start);
    start = null;
  };
  list.addEventListener("pointerup", release);
  list.addEventListener("pointercancel", release);
  list.addEventListener("keydown", (event) => {
    const by = KEY_STEPS[event.key];
    if (by === undefined && event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    event.stopPropagation();
    if (by === undefined) toggle();
    else step(by, event.shiftKey);
  });
}

export default withStore(({ model, el, store }) => {
  const shared = shareTraits(model, ["layers", "layer"]);
  const page = buildPage(el);
  // What is open belongs to this picture alone: a layer, what is before or after the layers, or the whole model.
  let open = { stack: "model" };
  let drawn = null;
  let revision = null;
  let stacks = {};
  /** Whether the stacks are scrolled to the chosen layer: what is not on screen, as in a hidden tab, cannot be scrolled. */
  let placed = false;

  const count = () => drawn?.layers.length ?? 0;
  /** The chosen layer; a group may hold a view of a deeper model. */
  const chosen = () => Math.max(0, Math.min(shared.get("layer"), count() - 1));
  const mapOf = (name) => (name === "encoder" ? drawn.encoder : drawn);
  const within = (layer, name) => Math.min(mapOf(name).layers.length - 1, Math.max(0, layer));
  const show = (what) => {
    open = what;
    draw();
  };
  const pick = (name) => (layer) => {
    open = { stack: name, layer };
    const inView = layerNumbers(shared.get("layers"));
    // As on the slider: beside the range, the range reaches out to the layer.
    const outside = name === "own" && !inView.includes(layer);
    const reaching = [Math.min(layer, ...inView), Math.max(layer, ...inView)];
    if (outside) shared.set({ layers: rangeText(reaching), layer });
    else if (name === "own" && layer !== shared.get("layer")) shared.set({ layer });
    else draw();
  };
  const drag = (range, live) => shared.set({ layers: rangeText(range) }, { live });
  const go = (name) => (to) => {
    if (to.layer === undefined) show({ stack: name, ...to });
    else pick(name)(to.layer);
  };
  const opened = (name) => (open.stack === name && open.layer !== undefined ? open.layer : null);
  const step = (name) => (by, extend) => {
    if (name === "encoder") pick(name)(within((opened(name) ?? -by) + by, name));
    else if (extend) {
      const next = extendedRange(layerNumbers(shared.get("layers")), chosen(), by, count());
      shared.set({ layer: next.layer, layers: rangeText(next.range) });
    } else shared.set({ layer: within(chosen() + by, name) });
  };
  const toggle = (name) => () => {
    const layer = name === "encoder" ? opened(name) ?? 0 : chosen();
    show(opened(name) === layer ? { stack: "model" } : { stack: name, layer });
  };

  /** What a stack is called; where there is but one, it needs no name. */
  const names = (name) => {
    if (!drawn.encoder) return { kind: "", title: "" };
    const kind = name === "encoder" ? "encoder" : "decoder";
    return { kind, title: `${kind} · ${mapOf(name).layers.length} layers` };
  };
  const ends = (name) => ({ source: "tokens", goal: name === "encoder" ? "encoder output" : `${longAmount(drawn.d_vocab)} logits per position` });
  /** The height that the style sheet wants, in px; 0 where it leaves that to the map. */
  const room = () => Number.parseFloat(getComputedStyle(el).getPropertyValue("--lw-map-high")) || 0;
  let built = 0;
  const build = () => {
    const both = drawn.encoder ? ["encoder", "own"] : ["own"];
    // A model keeps one height, whatever is open; more layers than fit into it are scrolled.
    const height = room() || Math.min(HIGH, Math.max(LOW, ...both.map((name) => stackHeight(mapOf(name), names(name).title))));
    built = room();
    page.body.style.height = `${height}px`;
    stacks = Object.fromEntries(both.map((name) => {
      const stack = makeStack(mapOf(name), { title: names(name).title, ...ends(name), height, open: (end) => show({ stack: name, end }) });
      stack.root.classList.toggle("lw-map-encoder", name === "encoder");
      listenTo(stack, { pick: pick(name), drag: name === "own" && drag, toggle: toggle(name), step: step(name) });
      stack.list.addEventListener("scroll", draw);
      return [name, stack];
    }));
    const bridge = drawn.encoder ? element("div", { class: "lw-map-bridge" }, element("span", {}, "to cross-attention"), element("i")) : null;
    page.stacks.replaceChildren(...[stacks.encoder?.root, bridge, stacks.own.root].filter(Boolean));
    el.classList.toggle("lw-map-double", Boolean(drawn.encoder));
    placed = false;
  };

  /** The pane is built again only when it shows something else: whoever reads or scrolls in it is left alone. */
  let shown = "";
  const drawPane = () => {
    const key = JSON.stringify([revision, open]);
    if (key === shown) return;
    shown = key;
    page.pane.replaceChildren(...(open.stack === "model" ? overview() : inside(open)));
  };
  const overview = () => {
    const kinds = Object.keys(stacks).map((name) => ({ title: names(name).title || `${count()} layers`, map: mapOf(name), go: go(name) }));
    return overviewPane(drawn, kinds);
  };
  const inside = ({ stack: name, end, layer }) => {
    const map = mapOf(name);
    const words = { ...names(name), ...ends(name), go: go(name), close: () => show({ stack: "model" }) };
    return end ? endPane(map, end, words) : layerPane(map, map.layers[layer], { ...words, band: bandOf(layer, map.layers.length) });
  };
  /** From the open row to the pane, as the slider's picture leads to the grid. */
  const drawWedge = () => {
    const stack = open.stack === "own" ? stacks.own : null;
    page.wedge.firstChild.setAttribute("d", "");
    if (!stack) return;
    const [box, list, row] = [page.wedge, stack.list, stack.place(open)].map((node) => node.getBoundingClientRect());
    const [zoom, tall] = [zoomOf(page.wedge), page.wedge.clientHeight];
    const [low, high] = open.end ? [0, tall] : [list.top, list.bottom].map((y) => (y - box.top) / zoom);
    const [top, bottom] = [row.top, row.bottom].map((y) => Math.min(high, Math.max(low, (y - box.top) / zoom)));
    const [left, right] = [(row.right - box.left) / zoom, page.wedge.clientWidth];
    const middle = right / 2;
    const upper = `M${left},${top} L0,${top} C${middle},${top} ${middle},0 ${right},0`;
    const lower = `L${right},${tall} C${middle},${tall} ${middle},${bottom} 0,${bottom} L${left},${bottom} Z`;
    page.wedge.firstChild.setAttribute("d", upper + lower);
  };

  const draw = onFrame(() => {
    const { data } = store;
    const map = data?.map ?? null;
    // The same data come again whenever another display of this map opens.
    if (data && data.revision !== revision) {
      [drawn, revision] = [map, data.revision];
      open = { stack: "own", layer: chosen() };
      build();
    } else if (drawn && built !== room()) build();
    page.empty.hidden = Boolean(map);
    el.classList.toggle("lw-blank", !map);
    el.classList.toggle("lw-ready", Boolean(map));
    el.classList.toggle("lw-map-narrow", el.clientWidth < NARROW);
    if (!map) return;
    if (!placed && el.clientWidth) {
      placed = true;
      for (const stack of Object.values(stacks)) stack.reveal(chosen(), true);
    }
    const layers = layerNumbers(shared.get("layers")).filter((layer) => layer < count());
    setFacts(page.detail, [map.name, `${longAmount(map.n_params)} parameters`, `stream ${longAmount(map.d_model)} wide`]);
    page.view.textContent = `${layersTitle(layers)} in view`;
    for (const [name, stack] of Object.entries(stacks)) {
      const own = name === "own" ? { layers, here: chosen() } : { layers: [], here: null };
      stack.mark({ ...own, opened: opened(name), openedEnd: open.stack === name ? open.end : null });
    }
    drawPane();
    drawWedge();
    el.dataset.revision = revision;
  });

  shared.listen((name) => {
    // A layer that is chosen elsewhere opens here too, unless the whole model is what is looked at.
    if (name === "layer" && drawn) {
      if (open.stack !== "model") open = { stack: "own", layer: chosen() };
      if (el.clientWidth) stacks.own.reveal(chosen());
      else placed = false;
    }
    if (name !== "prompt") draw();
  });
  const off = [store.listen(draw), watchLook(el, draw)];
  draw();
  return () => {
    off.forEach((stop) => stop());
    draw.cancel();
    shared.close();
  };
});
