// Moves bqplot marks in the browser while a range is dragged or a layer chosen: no message to the kernel.

import { shareTraits } from "./bus.js";
import { element, markAlive } from "./dom.js";
import { followFocus } from "./focus_tip.js";
import { layerNumbers } from "./rows.js";
import { dimWhile, isStale, isText } from "./store.js";
import { curveTable, makeTwin } from "./table_twin.js";

export default {
  render({ model, el }) {
    const shared = shareTraits(model, ["layers", "layer"]);
    const detail = element("span", { class: "lw-detail" });
    el.classList.add("lw", "lw-curves");
    const title = element("span", { class: "lw-title" });
    const bar = element("div", { class: "lw-bar" }, title, detail);
    el.append(bar);
    const twin = makeTwin(bar, () => {
      if (!model.get("told")) {
        model.set("told", true);
        model.save_changes();
      }
      return curveTable(`${title.textContent}${detail.textContent}`, model.get("table"), shared.get("layer"));
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
    const describe = () => {
      title.textContent = model.get("title");
      detail.textContent = model.get("detail") && ` · ${model.get("detail")}`;
      twin.changed();
    };
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
    model.on("change:table", twin.changed);
    model.on("change:prompt change:target", dim);
    model.on("change:title", describe);
    model.on("change:detail", describe);
    describe();
    return () => {
      unmark();
      unfollow();
      twin.close();
      model.off("change:table", twin.changed);
      shared.close();
      model.off("change:title", describe);
      model.off("change:detail", describe);
      model.off("change:prompt change:target", dim);
    };
  },
};
