// Moves bqplot marks in the browser while a range is dragged, a layer chosen or a value read by key: no message to the kernel.

import { shareTraits } from "./bus.js";
import { curvesOfTable, movedPoint, pointNear } from "./curve_points.js";
import { KEYS, element, markAlive } from "./dom.js";
import { followFocus } from "./focus_tip.js";
import { layerNumbers } from "./rows.js";
import { dimWhile, isStale, isText } from "./store.js";
import { curveTable, makeTwin } from "./table_twin.js";
import { makeVoice } from "./voice.js";

/** Goes along curves with the keyboard: `curves()` are those that are drawn, `show(point, chosen)` is told where it is. */
function walkCurves(node, shared, curves, show) {
  let here = null;
  const start = () => pointNear(curves(), here ?? { curve: 0, layer: shared.get("layer") });
  const go = (to, chosen = false) => {
    here = to;
    const curve = here && curves()[here.curve];
    show(here && { ...curve.points.find(({ layer }) => layer === here.layer), name: curve.name }, chosen);
  };
  node.addEventListener("keydown", (event) => {
    const from = start();
    if (!from || event.ctrlKey || event.metaKey || event.altKey) return;
    const chooses = event.key === "Enter" || event.key === " ";
    const to = chooses ? from : movedPoint(event.key, from, curves());
    if (!to) return;
    event.preventDefault();
    event.stopPropagation();
    go(to, chooses);
  });
  node.addEventListener("blur", () => go(null));
  /** Something else is drawn. */
  return () => { if (here) go(start()); };
}

export default {
  render({ model, el }) {
    const shared = shareTraits(model, ["layers", "layer"]);
    const detail = element("span", { class: "lw-detail" });
    el.classList.add("lw", "lw-curves");
    const title = element("span", { class: "lw-title" });
    const bar = element("div", { ...KEYS, class: "lw-bar", "aria-roledescription": "curves" }, title, detail);
    el.append(bar);
    const voice = makeVoice(shared, el, { guest: true });
    let pointed = null;
    const about = () => [model.get("title"), model.get("detail")].filter(Boolean).join(" · ");
    const twin = makeTwin(bar, () => {
      if (!model.get("told")) {
        model.set("told", true);
        model.save_changes();
      }
      return curveTable(about(), model.get("table"), shared.get("layer"));
    });

    const mark = async (name) => model.widget_manager?.get_model(model.get(name).replace("IPY_MODEL_", ""));
    const array = (numbers) => Float64Array.from(numbers);
    const follow = async () => {
      try {
        const layers = layerNumbers(shared.get("layers"));
        const [band, cursor] = [await mark("band"), await mark("cursor")];
        const edges = Array.from(band?.get("x") ?? []);
        band?.set("y", array(edges.map((_, edge) => (layers.includes(edge >> 1) ? 1 : 0))));
        cursor?.set("x", array([shared.get("layer"), shared.get("layer")]));
      } catch {
        // Without a widget manager that knows the marks, they move when the kernel answers.
      }
    };
    const ring = async () => {
      try {
        const point = await mark("point");
        // What is not seen stands where every scale has a place, a logarithmic one too.
        point?.set({ x: array([pointed?.layer ?? 0]), y: array([pointed?.height ?? 1]) });
        point?.set("visible", Boolean(pointed));
      } catch {
        // What it would stand around is said all the same.
      }
    };
    // The value first: of a narrow figure's title line, the end is cut.
    const told = () => [`layer ${pointed.layer}: ${pointed.said}`, pointed.name].filter(Boolean).join(" · ");
    const describe = () => {
      title.textContent = model.get("title");
      const words = pointed ? told() : model.get("detail");
      detail.textContent = words && ` · ${words}`;
      // An empty one is no place to stop at.
      const keys = model.get("drawn") ? ": arrow keys go from value to value, Enter chooses the layer" : "";
      bar.setAttribute("role", keys ? "application" : "group");
      bar.setAttribute("aria-label", `${about()}${keys}`);
      if (keys) bar.tabIndex = 0;
      else bar.removeAttribute("tabindex");
    };
    const walked = walkCurves(bar, shared, () => curvesOfTable(model.get("table")), (point, chosen) => {
      const moved = point?.layer !== pointed?.layer || point?.name !== pointed?.name;
      pointed = point;
      describe();
      ring();
      if (chosen) shared.set({ layer: point.layer });
      if (point && (moved || chosen)) voice.say(() => (chosen ? `layer ${point.layer} is chosen` : pointed ? told() : ""));
    });
    const dim = () => {
      const figure = el.closest(".lw-figure");
      if (figure) dimWhile(figure, isStale(shared, { prompt: model.get("prompt"), target: model.get("target") }));
    };
    shared.listen((name) => {
      if (name === "layer") twin.changed();
      if (name === "layers" || name === "layer") follow();
      else if (isText(name)) dim();
    });
    const unmark = markAlive(el);
    const unfollow = followFocus(el, ".lw-figure");
    const renew = () => { describe(); twin.changed(); };
    const heard = { "change:table": () => { walked(); twin.changed(); }, "change:prompt change:target": dim, "change:title change:detail change:drawn": renew };
    for (const [name, handler] of Object.entries(heard)) model.on(name, handler);
    describe();
    return () => {
      unmark();
      unfollow();
      twin.close();
      voice.close();
      for (const [name, handler] of Object.entries(heard)) model.off(name, handler);
      shared.close();
    };
  },
};
