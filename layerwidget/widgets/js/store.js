// What the kernel sent last: one binary message per view and edit, never a trait, so never saved in a notebook.

import { markAlive } from "./dom.js";

const ARRAY_TYPES = {
  uint8: Uint8Array, uint16: Uint16Array, int32: Int32Array, uint32: Uint32Array, float32: Float32Array,
};

const product = (sizes) => sizes.reduce((total, size) => total * size, 1);

/** An array of `shape`: along `axis` first `kept` of what there was before, then the rest. */
function grownArray(before, rest, { shape, axis, kept }) {
  const [outer, inner] = [product(shape.slice(0, axis)), product(shape.slice(axis + 1))];
  const [held, added] = [kept * inner, (shape[axis] - kept) * inner];
  const data = new rest.constructor(product(shape));
  for (let block = 0; block < outer; block += 1) {
    const [from, into] = [block * before.shape[axis] * inner, block * (held + added)];
    data.set(before.data.subarray(from, from + held), into);
    data.set(rest.subarray(block * added, (block + 1) * added), into + held);
  }
  return data;
}

/** Typed arrays of a message: `{name: {data, shape}}`; of some it brings only what is new since `before`. */
export function unpackArrays(specs, buffers, before) {
  const arrays = {};
  specs.forEach(({ name, dtype, ...spec }, index) => {
    const { buffer, byteOffset, byteLength } = buffers[index];
    const sent = new ARRAY_TYPES[dtype](buffer.slice(byteOffset, byteOffset + byteLength));
    arrays[name] = { data: spec.kept ? grownArray(before[name], sent, spec) : sent, shape: spec.shape };
  });
  return arrays;
}

/** Plain values of a message; of some lists it brings only what is new since `before`. */
function wholeLists({ meta = {}, kept = {} }, before) {
  const whole = ([name, value]) => [name, kept[name] ? [...before[name].slice(0, kept[name]), ...value] : value];
  return Object.fromEntries(Object.entries(meta).map(whole));
}

/** Buffers that came as base64 text, as the views of bytes that they would have been. */
export function decodedBuffers(texts) {
  return texts.map((text) => {
    const { buffer, byteLength } = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    return new DataView(buffer, 0, byteLength);
  });
}

/** The buffers of a message; null where a front end that carries no binary data has lost them. */
export function buffersOf(message, buffers) {
  if (message.base64) return decodedBuffers(message.base64);
  return (buffers?.length ?? 0) < (message.arrays?.length ?? 0) ? null : buffers;
}

/** Under which names a group hears of the texts that data are about: prompt, second prompt, and a decoder's target. */
const TEXTS = { prompt: "prompt", second: "second_prompt", target: "target" };

/** Whether a group hears of what is being typed under that name. */
export function isText(name) {
  return Object.values(TEXTS).includes(name);
}

/** Whether what is drawn belongs to an older text than the one in its prompt box, where there is one. */
export function isStale(shared, data) {
  const older = ([key, name]) => data[key] != null && shared.get(name) !== undefined && shared.get(name) !== data[key];
  return Boolean(data.stale) || Object.entries(TEXTS).some(older);
}

/** What is answered sooner than this is never dimmed. */
export const PATIENCE_MS = 350;
const toBeDimmed = new WeakMap();

/** Dims an element while it shows something old: after a while, because dimming costs the answer some of its time. */
export function dimWhile(el, stale) {
  if (stale === toBeDimmed.has(el)) return;
  clearTimeout(toBeDimmed.get(el));
  toBeDimmed.delete(el);
  if (stale) toBeDimmed.set(el, setTimeout(() => el.classList.add("lw-stale"), PATIENCE_MS));
  else el.classList.remove("lw-stale");
}

/** Dims a view whose picture belongs to an older text. */
export function dimStale(el, shared, data) {
  dimWhile(el, Boolean(data?.layers.length) && isStale(shared, data));
}

/** Keeps the newest data of a widget model; asks for it when it opens, because earlier messages are lost. */
export function openStore(model) {
  const store = {
    data: null,
    listeners: new Set(),
    listen(listener) {
      store.listeners.add(listener);
      return () => store.listeners.delete(listener);
    },
    close: () => model.off("msg:custom", receive),
  };
  let asked = false;
  function receive(message, received) {
    const buffers = buffersOf(message, received);
    if (buffers === null) {
      // Once is enough: from then on all arrays come as text, what is on its way now included.
      if (!asked) model.send({ type: "ready", base64: true });
      asked = true;
      return;
    }
    if (message.base !== undefined && message.base !== store.data?.revision) {
      // It adds to what never came here.
      if (message.revision > (store.data?.revision ?? 0)) model.send({ type: "ready" });
      return;
    }
    const news = { ...wholeLists(message, store.data), revision: message.revision, ...(message.arrays && unpackArrays(message.arrays, buffers, store.data)) };
    if (message.type === "data" && message.revision >= (store.data?.revision ?? 0)) store.data = news;
    else if (message.type === "part" && message.revision === store.data?.revision) store.data = { ...store.data, ...news };
    else return;
    for (const listener of [...store.listeners]) listener();
  }
  model.on("msg:custom", receive);
  model.send({ type: "ready" });
  return store;
}

/** A widget module that draws with a store: it opens with the model, before any view, and ends with it. */
export function withStore(draw) {
  return () => {
    let store;
    return {
      initialize({ model }) {
        store = openStore(model);
        return () => store.close();
      },
      render: ({ model, el }) => {
        const closeView = draw({ model, el, store });
        const unmark = markAlive(el);
        return () => {
          closeView?.();
          unmark();
        };
      },
    };
  };
}
