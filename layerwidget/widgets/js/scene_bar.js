// Title and caption of a prepared step, and the keys that lead from one to the next.

import { shareTraits } from "./bus.js";
import { KEYS, element, setText } from "./dom.js";
import { layerNumbers } from "./rows.js";
import { makeVoice } from "./voice.js";

/** The scene that a step leads to, from none or one of `count`; null where there is none. */
export function steppedScene(scene, by, count) {
  const to = scene === null ? (by > 0 ? 0 : -1) : scene + by;
  return to >= 0 && to < count ? to : null;
}

/** The layer in view that is next above (1) or below (-1); the same one at the ends. */
export function steppedLayer(layer, by, inView) {
  const next = by > 0 ? inView.find((other) => other > layer) : inView.findLast((other) => other < layer);
  return next ?? layer;
}

/** What a key asks for: `{scene: by}`, `{layer: by}`, or null. Where text is written, its arrows move the caret. */
export function sceneKey({ key, altKey, ctrlKey, metaKey, shiftKey }, writing) {
  if (ctrlKey || metaKey || shiftKey) return null;
  if (!altKey) return key === "PageDown" ? { scene: 1 } : key === "PageUp" ? { scene: -1 } : null;
  if (key === "ArrowUp" || key === "ArrowDown") return { layer: key === "ArrowUp" ? 1 : -1 };
  if (writing || (key !== "ArrowRight" && key !== "ArrowLeft")) return null;
  return { scene: key === "ArrowRight" ? 1 : -1 };
}

/** Whether text is written in an element. */
function isWriting(node) {
  return Boolean(node?.matches("textarea, input:not([type=checkbox]):not([type=radio])"));
}

export default {
  render({ model, el }) {
    const shared = shareTraits(model, ["layers", "layer"]);
    const [title, caption] = [element("span", { class: "lw-scene-title" }), element("span", { class: "lw-scene-caption" })];
    const count = element("span", { class: "lw-scene-count" });
    const button = (by, name, sign, keys) => element("button", {
      ...KEYS, type: "button", class: "lw-button", "aria-label": name, title: `${name} (${keys})`, onclick: () => step(by),
    }, sign);
    const [back, on] = [button(-1, "Previous scene", "‹", "Page up, Alt with ←"), button(1, "Next scene", "›", "Page down, Alt with →")];
    el.classList.add("lw", "lw-scene-bar");
    el.append(
      element("div", { class: "lw-scene-words" }, title, caption),
      element("div", { class: "lw-scene-steps", role: "group", "aria-label": "Scenes" }, back, count, on));
    // Without scenes the bar is hidden.
    const voice = makeVoice(shared, el, { guest: true });
    let told = null;
    const total = () => model.get("words").length;
    /** Goes to another scene; whoever was writing has stopped, or the text would stay theirs. */
    const step = (by) => {
      const to = steppedScene(model.get("scene"), by, total());
      if (to === null) return;
      if (isWriting(document.activeElement)) explorer?.focus({ preventScroll: true });
      model.set("scene", to);
      model.save_changes();
    };
    const draw = () => {
      const [words, scene] = [model.get("words"), model.get("scene")];
      el.hidden = !words.length;
      const [head, text] = words[scene] ?? ["", ""];
      setText(title, head);
      setText(caption, text);
      const whole = [head, text].filter(Boolean).join(": ");
      if (told !== null && told !== whole) voice.say(() => whole, { slot: "scene" });
      told = whole;
      setText(count, `${scene === null ? "–" : scene + 1} / ${words.length}`);
      count.setAttribute("aria-label", scene === null ? `${words.length} scenes` : `scene ${scene + 1} of ${words.length}`);
      for (const [node, by] of [[back, -1], [on, 1]]) {
        const focused = node === document.activeElement;
        node.disabled = steppedScene(scene, by, words.length) === null;
        // A button that has no more to do gives the keys to the explorer, not to the notebook.
        if (focused && node.disabled) explorer?.focus({ preventScroll: true });
      }
    };
    const onKey = (event) => {
      const { target } = event;
      const asked = sceneKey(event, isWriting(target));
      // Alt with an arrow moves an open tab.
      if (!asked || (asked.scene && (!total() || (event.altKey && target.matches(".lw-tab"))))) return;
      event.preventDefault();
      event.stopPropagation();
      if (asked.scene) step(asked.scene);
      else shared.set({ layer: steppedLayer(shared.get("layer"), asked.layer, layerNumbers(shared.get("layers"))) });
    };
    let explorer = null;
    // The keys of the whole explorer, before its parts read them: a remote has only these two.
    const join = () => {
      explorer = el.closest(".lw-explorer");
      explorer?.addEventListener("keydown", onKey, true);
      // A click on an empty place brings the keys here, and the notebook leaves them alone.
      if (explorer) {
        explorer.tabIndex = -1;
        explorer.setAttribute("data-lm-suppress-shortcuts", "true");
      }
    };
    const joining = requestAnimationFrame(join);
    for (const name of ["words", "scene"]) model.on(`change:${name}`, draw);
    draw();
    return () => {
      cancelAnimationFrame(joining);
      explorer?.removeEventListener("keydown", onKey, true);
      voice.close();
      shared.close();
      for (const name of ["words", "scene"]) model.off(`change:${name}`, draw);
    };
  },
};
