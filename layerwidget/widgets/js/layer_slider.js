// The range slider that is a picture of the layer stack.

import { shareTraits } from "./bus.js";
import { KEYS, element } from "./dom.js";
import { GRID_HEIGHT, layerNumbers, rowHeight } from "./rows.js";

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

/** A range after one of its parts ("last", "first" or "middle") moved by some layers. */
export function movedRange([first, last], part, by, min, max) {
  if (part === "first") return [clamp(first + by, min, last), last];
  if (part === "last") return [first, clamp(last + by, first, max)];
  const step = clamp(by, min - first, max - last);
  return [first + step, last + step];
}

export default {
  render({ model, el }) {
    const shared = shareTraits(model, ["layers", "layer"]);
    const rail = element("div", { class: "lw-rail" });
    const zoom = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const wedge = document.createElementNS("http://www.w3.org/2000/svg", "path");
    zoom.append(wedge);
    zoom.setAttribute("class", "lw-zoom");
    zoom.setAttribute("aria-hidden", "true");
    const thumbs = Object.fromEntries(["last", "middle", "first"].map((part) => [part, element("div", {
      ...KEYS, class: `lw-thumb lw-thumb-${part}`, role: "slider", tabindex: 0, "aria-orientation": "vertical", "data-part": part,
      "aria-label": { last: "Last layer of the range", middle: "Whole range of layers; with Shift, the chosen layer", first: "First layer of the range" }[part],
    })]));
    const window_ = element("div", { class: "lw-window" }, thumbs.last, thumbs.middle, thumbs.first);
    const [topLabel, bottomLabel] = [element("span", { class: "lw-rail-number" }), element("span", { class: "lw-rail-number" })];
    const [topEnd, bottomEnd] = [element("span", { class: "lw-rail-number lw-rail-end" }), element("span", { class: "lw-rail-number lw-rail-end" })];
    const stage = element("div", { class: "lw-rail-stage", style: `height:${GRID_HEIGHT}px` }, rail, window_, topEnd, bottomEnd, topLabel, bottomLabel, zoom);
    const presets = element("div", { class: "lw-presets" }, ...["all", "late", "middle", "early"].map((name) =>
      element("button", { ...KEYS, type: "button", class: "lw-button", "data-preset": name, onclick: () => pick(name) }, name)));
    el.classList.add("lw", "lw-layers");
    el.append(element("div", { class: "lw-bar" }, element("span", { class: "lw-title" }, "Layers")), stage, presets);

    const bounds = () => [model.get("min"), model.get("max")];
    const count = () => bounds()[1] - bounds()[0] + 1;
    const place = (layer) => ((bounds()[1] - layer) / count()) * GRID_HEIGHT;
    /** First and last layer in view; the rail shows a list with gaps by its ends. */
    const current = () => {
      const numbers = layerNumbers(shared.get("layers"));
      return numbers.length && numbers.every(Number.isFinite) ? [numbers[0], numbers.at(-1)] : bounds();
    };
    const move = ([first, last], live = false) => shared.set({ layers: first === last ? String(first) : `${first}-${last}` }, { live });
    const pick = (name) => {
      const range = model.get("bands")[name] ?? bounds();
      if (range.length) move(range);
    };

    const build = () => {
      rail.replaceChildren();
      const [min, max] = bounds();
      for (let layer = max; layer >= min; layer -= 1) {
        const bar = element("div", { class: "lw-rail-layer", title: `layer ${layer}` });
        bar.style.top = `${place(layer)}px`;
        bar.style.height = `${Math.max(1, GRID_HEIGHT / count() - (count() > 60 ? 0 : 2))}px`;
        rail.append(bar);
      }
      for (const [name, range] of Object.entries(model.get("bands"))) {
        if (!range.length) continue;
        const label = element("span", { class: "lw-band" }, name);
        label.style.top = `${place(range[1])}px`;
        label.style.height = `${place(range[0] - 1) - place(range[1])}px`;
        rail.append(label);
      }
      draw();
    };
    const draw = () => {
      const [min, max] = bounds();
      const [first, last] = current();
      const shownLayers = layerNumbers(shared.get("layers"));
      const [top, bottom] = [place(last), place(first - 1)];
      window_.style.top = `${top}px`;
      window_.style.height = `${bottom - top}px`;
      [...rail.querySelectorAll(".lw-rail-layer")].forEach((bar, index) => {
        bar.classList.toggle("lw-in", shownLayers.includes(max - index));
        bar.classList.toggle("lw-here", shared.get("layer") === max - index);
      });
      const row = GRID_HEIGHT / count();
      // The numbers of the range stand at its ends; those of the whole stack give way where they would touch.
      topLabel.textContent = last;
      bottomLabel.textContent = first === last ? "" : first;
      const [topY, bottomY] = [top + row / 2, Math.max(bottom - row / 2, top + row / 2 + 13)];
      topLabel.style.top = `${topY}px`;
      bottomLabel.style.top = `${bottomY}px`;
      topEnd.textContent = topY - row / 2 > 14 ? max : "";
      topEnd.style.top = `${row / 2}px`;
      bottomEnd.textContent = GRID_HEIGHT - bottomY - row / 2 > 14 ? min : "";
      bottomEnd.style.top = `${GRID_HEIGHT - row / 2}px`;
      const end = Math.min(GRID_HEIGHT, shownLayers.length * rowHeight(shownLayers.length));
      wedge.setAttribute("d", `M0,${top} C12,${top} 12,0 24,0 L24,${end} C12,${end} 12,${bottom} 0,${bottom} Z`);
      for (const [part, thumb] of Object.entries(thumbs)) {
        thumb.setAttribute("aria-valuemin", min);
        thumb.setAttribute("aria-valuemax", max);
        thumb.setAttribute("aria-valuenow", part === "first" ? first : last);
        thumb.setAttribute("aria-valuetext", part === "middle" ? `layers ${first} to ${last}, layer ${shared.get("layer")} chosen` : `layer ${part === "first" ? first : last}`);
      }
      for (const button of presets.children) {
        const range = model.get("bands")[button.dataset.preset] ?? bounds();
        button.disabled = !range.length;
        button.setAttribute("aria-pressed", String(range[0] === first && range[1] === last));
      }
    };

    let drag = null;
    const layerAt = (event) => {
      const box = stage.getBoundingClientRect();
      return clamp(bounds()[1] - Math.floor(((event.clientY - box.top) / box.height) * count()), ...bounds());
    };
    stage.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      event.preventDefault();
      stage.setPointerCapture(event.pointerId);
      const part = event.target.dataset.part;
      if (part) thumbs[part].focus();
      drag = { part, from: layerAt(event), value: current(), moved: false };
    });
    stage.addEventListener("pointermove", (event) => {
      if (!drag) return;
      const by = layerAt(event) - drag.from;
      if (by) drag.moved = true;
      // A drag that starts beside the window opens a new range from there.
      const value = drag.part
        ? movedRange(drag.value, drag.part, by, ...bounds())
        : [Math.min(drag.from, drag.from + by), Math.max(drag.from, drag.from + by)];
      if (drag.moved) move(value, true);
    });
    const release = (event) => {
      if (!drag) return;
      const clicked = !drag.moved && drag.part !== "first" && drag.part !== "last";
      // A click on a layer inside the window chooses that layer; beside it, the range reaches out to it.
      if (clicked && event.type === "pointerup") {
        const [first, last] = drag.value;
        const layer = drag.from;
        if (layer < first) move([layer, last]);
        else if (layer > last) move([first, layer]);
        else shared.set({ layer });
      } else if (drag.moved) move(current());
      drag = null;
    };
    stage.addEventListener("pointerup", release);
    stage.addEventListener("pointercancel", release);
    window_.addEventListener("keydown", (event) => {
      const part = event.target.dataset.part;
      const by = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1, PageUp: 5, PageDown: -5, Home: -1e6, End: 1e6 }[event.key];
      if (!part || by === undefined) return;
      event.preventDefault();
      event.stopPropagation();
      // As a click inside the range does.
      if (part === "middle" && event.shiftKey) shared.set({ layer: clamp(shared.get("layer") + by, ...current()) });
      else move(movedRange(current(), part, by, ...bounds()));
    });

    for (const name of ["min", "max", "bands"]) model.on(`change:${name}`, build);
    shared.listen((name) => { if (name === "layers" || name === "layer") draw(); });
    build();
    return () => {
      shared.close();
      for (const name of ["min", "max", "bands"]) model.off(`change:${name}`, build);
    };
  },
};
