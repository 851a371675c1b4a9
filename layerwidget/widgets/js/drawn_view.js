// The life of a view that draws what its store holds: when it draws, what it need not draw again, what dims it, its end.

import { sameValue } from "./bus.js";
import { readPalette } from "./colour.js";
import { onFrame, watchLook } from "./dom.js";
import { PATIENCE_MS, dimStale, isStale, isText } from "./store.js";

/**
 * Keeps a view drawn, once per frame at most: new data, what is chosen, size and theme.
 *
 * @param host `{model, el, store, shared}` of the view.
 * @param {{
 *   empty: Element,
 *   begin?: (data) => void,
 *   scene: (data, {palette, hover}) => object,
 *   show: (scene) => void,
 *   clear?: () => void,
 *   column?: (data) => number,
 *   columnNames?: string[],
 *   heard?: (name) => boolean | void,
 *   came?: () => void,
 *   resized?: () => void,
 *   traits?: string[],
 *   room?: Element,
 * }} parts
 *   `empty` stands in place of the picture while there is none; `begin` says what is said in any case.
 *   `scene` makes what is drawn, which `show` draws; `clear` takes away what was said of the last one.
 *   `column` is the place of the reader in the picture: where a change under one of `columnNames` leads to the same
 *   one, nothing is drawn. At the end of a prompt that is being typed, the next token's place is such a change until
 *   its answer is there.
 *   `heard` is told of every other change, and may say `true`: it is taken care of. `came` is told of new data and
 *   `resized` of another size of `room`, each before it is drawn.
 *   `traits` are those of the model that are drawn besides what is shared.
 * @returns what is drawn and pointed at, `{draw, scene(), hover(), point(found), close()}`.
 */
export function openView({ model, el, store, shared }, parts) {
  const { empty, begin, clear, column, columnNames = ["position"], heard, came, resized, traits = [], room = el } = parts;
  let palette = null;
  let scene = null;
  let hover = null;
  let drawnColumn = null;
  // Set while the place that is drawn is not the reader's.
  let behind = null;

  const keepUp = () => {
    clearTimeout(behind);
    behind = null;
  };
  const dim = () => dimStale(el, shared, store.data);
  const draw = onFrame(() => {
    const { data } = store;
    const ready = Boolean(data?.layers.length);
    empty.hidden = ready;
    el.classList.toggle("lw-blank", !ready);
    el.classList.toggle("lw-ready", ready);
    begin?.(data);
    dim();
    keepUp();
    palette = readPalette(el, palette);
    scene = ready ? parts.scene(data, { palette, hover }) : null;
    if (!scene) {
      clear?.();
      return;
    }
    drawnColumn = column?.(data);
    parts.show(scene);
    el.dataset.revision = data.revision;
    // What is not complete is not the answer to the prompt yet.
    el.dataset.prompt = data.done ? "" : data.prompt ?? "";
  });
  // Where the kernel leads to in a text that is not drawn yet is drawn with its answer; or when that text is gone, or
  // the picture is dimmed because no answer comes soon.
  const isAhead = (name, byKernel) => byKernel && name === "position" && scene && isStale(shared, scene.data);
  const isBack = () => behind !== null && scene && !isStale(shared, scene.data);
  const staysThere = (name) => column && scene && columnNames.includes(name) && column(scene.data) === drawnColumn;
  const change = (name) => { if (!heard?.(name)) draw(); };
  const stayBehind = () => {
    keepUp();
    behind = setTimeout(() => change("position"), PATIENCE_MS);
  };
  shared.listen((name, _value, byKernel) => {
    if (isText(name)) {
      // Typing changes nothing in the picture until its answer is there.
      dim();
      if (isBack()) change("position");
    } else if (!staysThere(name)) {
      if (isAhead(name, byKernel)) stayBehind();
      else change(name);
    }
  });
  for (const trait of traits) model.on(`change:${trait}`, draw);
  const off = [
    store.listen(() => {
      // What was under the pointer may be gone.
      hover = null;
      came?.();
      draw();
    }),
    watchLook(room, () => {
      resized?.();
      draw();
    }),
  ];
  draw();
  return {
    draw,
    scene: () => scene,
    hover: () => hover,
    /** Something else is under the pointer, or nothing. */
    point(found) {
      if (sameValue(found, hover)) return;
      hover = found;
      draw();
    },
    close() {
      off.forEach((stop) => stop());
      for (const trait of traits) model.off(`change:${trait}`, draw);
      draw.cancel();
      keepUp();
      shared.close();
    },
  };
}
