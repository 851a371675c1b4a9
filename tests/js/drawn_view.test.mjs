// The life of a view, with what it needs of a page put in its place.

import assert from "node:assert/strict";
import test, { afterEach, beforeEach } from "node:test";

import { shareTraits } from "../../layerwidget/widgets/js/bus.js";
import { openView } from "../../layerwidget/widgets/js/drawn_view.js";
import { PATIENCE_MS, openStore } from "../../layerwidget/widgets/js/store.js";

const PAGE = ["requestAnimationFrame", "cancelAnimationFrame", "getComputedStyle", "MutationObserver", "ResizeObserver", "ShadowRoot", "matchMedia", "document"];
let kept;
let frames;
let observers;

beforeEach(() => {
  kept = PAGE.map((name) => globalThis[name]);
  [frames, observers] = [new Map(), new Set()];
  class Observer {
    constructor(changed) { this.changed = changed; observers.add(this); }
    observe() {}
    disconnect() { observers.delete(this); }
  }
  let count = 0;
  Object.assign(globalThis, {
    requestAnimationFrame: (run) => { count += 1; frames.set(count, run); return count; },
    cancelAnimationFrame: (frame) => frames.delete(frame),
    getComputedStyle: () => ({ backgroundColor: "rgb(255, 255, 255)", color: "rgb(0, 0, 0)", fontFamily: "x", getPropertyValue: () => "" }),
    MutationObserver: Observer, ResizeObserver: Observer, ShadowRoot: class {},
    matchMedia: () => ({ matches: false, addEventListener() {}, removeEventListener() {} }),
    document: { documentElement: {}, body: {} },
  });
});

afterEach(() => PAGE.forEach((name, place) => {
  if (kept[place] === undefined) delete globalThis[name];
  else globalThis[name] = kept[place];
}));

/** Everything that waits for a frame. */
function nextFrame() {
  const waiting = [...frames.values()];
  frames.clear();
  waiting.forEach((run) => run());
}

/** A widget model whose values are in `state`, and an element that knows its classes. */
function makeHost(state) {
  const handlers = new Map();
  const model = {
    get: (name) => state[name],
    set: (name, value) => { state[name] = value; },
    save_changes() {},
    send() {},
    on: (event, handler) => handlers.set(event, [...(handlers.get(event) ?? []), handler]),
    off: (event, handler) => handlers.set(event, (handlers.get(event) ?? []).filter((one) => one !== handler)),
    tell: (event, ...told) => (handlers.get(event) ?? []).forEach((handler) => handler(...told)),
    listened: () => [...handlers.values()].flat().length,
  };
  const classes = new Set();
  const el = {
    classes, dataset: {}, parentElement: null, getRootNode: () => null, closest: () => null,
    classList: {
      add: (name) => classes.add(name), remove: (name) => classes.delete(name), toggle: (name, on) => (on ? classes.add(name) : classes.delete(name)),
    },
  };
  return { model, el, store: openStore(model), shared: shareTraits(model, ["layer", "position", "prompt"]) };
}

let groups = 0;

/** A view of positions that notes the scenes that it draws. */
function opened() {
  groups += 1;
  const host = makeHost({ group: `drawn ${groups}`, layer: 0, position: 9, prompt: "one two" });
  const drawn = [];
  const empty = {};
  const view = openView(host, {
    empty,
    column: ({ n_pos }) => Math.min(host.shared.get("position"), n_pos - 1),
    scene: (data, { hover }) => ({ data, hover, here: Math.min(host.shared.get("position"), data.n_pos - 1) }),
    show: ({ hover, here }) => drawn.push({ hover, here }),
    clear: () => drawn.push("nothing"),
    traits: ["title"],
  });
  let revision = 0;
  const answer = (meta) => {
    revision += 1;
    host.model.tell("msg:custom", { type: "data", revision, meta: { layers: [0, 1], n_pos: 2, prompt: "one two", ...meta } }, []);
  };
  /** The kernel brings the reader to a position. */
  const lead = (position) => {
    host.model.set("position", position);
    host.model.tell("change:position");
  };
  return { ...host, view, drawn, empty, answer, lead };
}

test("without data there is a placeholder, and with data a picture", () => {
  const { el, drawn, empty, answer } = opened();
  nextFrame();
  assert.deepEqual([drawn, empty.hidden, [...el.classes]], [["nothing"], false, ["lw-blank"]]);
  answer();
  answer();
  nextFrame();
  assert.deepEqual([drawn, empty.hidden, [...el.classes]], [["nothing", { hover: null, here: 1 }], true, ["lw-ready"]]);
  assert.deepEqual(el.dataset, { revision: 2, prompt: "one two" });
  answer({ layers: [] });
  nextFrame();
  assert.deepEqual([drawn.at(-1), empty.hidden], ["nothing", false]);
});

test("an answer that is not complete is not said to be the answer", () => {
  const { el, answer } = opened();
  answer({ done: [1, 0] });
  nextFrame();
  assert.equal(el.dataset.prompt, "");
});

test("a text that is typed, and a place that leads nowhere else, draw nothing", () => {
  const { shared, drawn, answer } = opened();
  answer();
  nextFrame();
  drawn.length = 0;
  shared.tell("prompt", "one two three");
  shared.set({ position: 10 });
  assert.equal(frames.size, 0);
  shared.set({ position: 0 });
  nextFrame();
  assert.deepEqual(drawn, [{ hover: null, here: 0 }]);
  shared.set({ layer: 1 });
  assert.equal(frames.size, 1);
});

test("a place in a text that is being typed, to which the kernel leads, is drawn with its answer", () => {
  const { shared, drawn, answer, lead } = opened();
  answer();
  nextFrame();
  drawn.length = 0;
  shared.tell("prompt", "one and");
  lead(0);
  assert.equal(frames.size, 0);
  answer({ prompt: "one and" });
  nextFrame();
  assert.deepEqual(drawn, [{ hover: null, here: 0 }]);
  // Where somebody here goes is drawn at once, in whatever is there.
  shared.tell("prompt", "one");
  shared.set({ position: 1 });
  nextFrame();
  assert.equal(drawn.length, 2);
});

test("a place to which the kernel leads is drawn after a while where no answer comes, and nowhere else than it was not at all", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { shared, view, drawn, answer, lead } = opened();
  answer();
  nextFrame();
  drawn.length = 0;
  shared.tell("prompt", "one two three");
  lead(2);
  shared.tell("prompt", "one two");
  t.mock.timers.tick(1000);
  assert.equal(frames.size, 0);
  shared.tell("prompt", "one");
  lead(0);
  t.mock.timers.tick(PATIENCE_MS - 1);
  assert.equal(frames.size, 0);
  t.mock.timers.tick(1);
  nextFrame();
  assert.deepEqual(drawn, [{ hover: null, here: 0 }]);
  lead(1);
  view.close();
  t.mock.timers.tick(1000);
  assert.equal(frames.size, 0);
});

test("a place to which the kernel has led is drawn when the text that was typed is gone", () => {
  const { shared, drawn, answer, lead } = opened();
  answer();
  nextFrame();
  drawn.length = 0;
  shared.tell("prompt", "one");
  lead(0);
  assert.equal(frames.size, 0);
  shared.tell("prompt", "one two");
  nextFrame();
  assert.deepEqual(drawn, [{ hover: null, here: 0 }]);
  shared.tell("prompt", "one two three");
  assert.equal(frames.size, 0);
});

test("what is pointed at is drawn once, and forgotten with new data", () => {
  const { view, drawn, answer } = opened();
  answer();
  nextFrame();
  drawn.length = 0;
  view.point({ layer: 0, column: 1 });
  nextFrame();
  view.point({ layer: 0, column: 1 });
  assert.equal(frames.size, 0);
  answer();
  nextFrame();
  assert.deepEqual(drawn.map(({ hover }) => hover), [{ layer: 0, column: 1 }, null]);
});

test("a trait and another look draw; a closed view leaves nothing behind", () => {
  const { model, view, store, answer } = opened();
  const before = model.listened();
  answer();
  nextFrame();
  for (const change of [() => model.tell("change:title"), ...[...observers].map((one) => () => one.changed())]) {
    change();
    assert.equal(frames.size, 1);
    nextFrame();
  }
  model.tell("change:title");
  view.close();
  assert.equal(frames.size, 0);
  assert.equal(observers.size, 0);
  assert.ok(before > 1);
  store.close();
  assert.equal(model.listened(), 0);
});
