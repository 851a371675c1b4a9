// What stands in for a widget's model in a page without a kernel: the modules draw there as they do in a notebook.

import { sameValue } from "./bus.js";

let played = 0;

/**
 * A model with the traits that were recorded of one view.
 *
 * `place` holds what all views have in common; they share one object, so that none of them falls behind. `saved` is
 * called where a notebook would tell the kernel.
 */
export function recordedModel(place, { traits = {}, messages = [] }, saved = () => {}) {
  const own = { ...traits };
  const handlers = new Map();
  let held = messages;
  const emit = (event, ...said) => [...(handlers.get(event) ?? [])].forEach((handler) => handler(...said));
  const set = (name, value) => {
    const kept = name in place ? place : own;
    if (sameValue(kept[name], value)) return;
    kept[name] = value;
    // Of what is shared, the views hear from each other.
    if (kept === own) emit(`change:${name}`, model, value);
  };
  const play = () => {
    // Whoever shows a prompt again shows it later: a view keeps what is newest.
    played += 1;
    for (const { content, buffers } of held) emit("msg:custom", { ...content, revision: played }, buffers);
  };
  const model = {
    get: (name) => (name in place ? place[name] : own[name]),
    set: (name, value) => (typeof name === "string" ? set(name, value) : Object.entries(name).forEach(([key, one]) => set(key, one))),
    on: (event, handler) => handlers.set(event, [...(handlers.get(event) ?? []), handler]),
    off: (event, handler) => handlers.set(event, (handlers.get(event) ?? []).filter((one) => one !== handler)),
    save_changes: () => saved(),
    /** There is one thing to be asked without a kernel: what was recorded. Like a kernel's, the answer comes later. */
    send: (content) => { if (content.type === "ready") setTimeout(play, 0); },
    /** Show another prompt. */
    replay(state) {
      held = state.messages ?? [];
      for (const [name, value] of Object.entries(state.traits)) set(name, value);
      play();
    },
  };
  return model;
}
