// The loss of every token as bars over the prompt, with the trained length and windows.

import { shareTraits } from "./bus.js";
import { KEYS, element, pointIn, setFacts, sizedContext } from "./dom.js";
import { openView } from "./drawn_view.js";
import { lossFrame, lossSummary, lossText, paintLoss, withoutLoss } from "./loss_bars.js";
import { withStore } from "./store.js";
import { listTable, makeTwin } from "./table_twin.js";
import { makeVoice } from "./voice.js";

const HEIGHT = 190;

export default withStore(({ model, el, store }) => {
  const shared = shareTraits(model, ["position"]);
  const canvas = element("canvas");
  const title = element("span", { class: "lw-title" });
  const detail = element("span", { class: "lw-detail" });
  const empty = element("div", { class: "lw-placeholder" });
  const readout = element("div", { class: "lw-heat-readout" });
  const stage = element("div", {
    ...KEYS, class: "lw-loss-stage", tabindex: 0, role: "application", "aria-roledescription": "bars", style: `height:${HEIGHT}px`,
    "aria-label": "Loss by position in nats: arrow keys choose a position",
  }, canvas, empty);
  el.classList.add("lw", "lw-loss");
  el.append(element("div", { class: "lw-bar" }, title, detail), stage, readout);

  const voice = makeVoice(shared, el);
  /** Nothing is drawn, and its canvas takes no room. */
  const clear = () => {
    sizedContext(canvas, stage.clientWidth, 1);
    setFacts(detail, []);
    readout.textContent = "";
  };
  const here = ({ labels }) => Math.min(shared.get("position"), labels.length - 1);
  const view = openView({ model, el, store, shared }, {
    empty,
    column: here,
    traits: ["title", "placeholder"],
    begin() {
      title.textContent = model.get("title");
      empty.textContent = model.get("placeholder");
    },
    scene(data, looks) {
      const none = withoutLoss(data.nats.data);
      const frame = none === null ? lossFrame(stage.clientWidth, HEIGHT, data.nats.data) : null;
      return { data, none, frame, here: here(data), ...looks };
    },
    show(scene) {
      const { data, none, frame, hover } = scene;
      if (none !== null) {
        clear();
        empty.textContent = none;
        empty.hidden = false;
        return;
      }
      stage.dataset.column = frame.step;
      paintLoss(sizedContext(canvas, stage.clientWidth, HEIGHT), frame, scene);
      setFacts(detail, lossSummary(data, frame).split(" · "));
      readout.textContent = lossText(hover ?? scene.here, data);
      twin.changed();
    },
    clear,
  });
  const shown = () => (view.scene()?.frame ? view.scene() : null);
  const twin = makeTwin(stage, () => shown() && listTable("Loss by position", "token", "nats", shown().data.labels, shown().here, (position) => {
    const value = shown().data.nats.data[position];
    return Number.isFinite(value) ? value.toFixed(3) : "no value";
  }));

  const at = (event) => shown()?.frame.positionAt(pointIn(stage, event)[0]) ?? null;
  stage.addEventListener("pointermove", (event) => view.point(at(event)));
  stage.addEventListener("pointerleave", () => view.point(null));
  stage.addEventListener("click", (event) => {
    const position = at(event);
    if (position !== null) shared.set({ position });
  });
  stage.addEventListener("keydown", (event) => {
    view.draw.now();
    if (!shown()) return;
    const { data: { labels }, here: from } = shown();
    const last = labels.length - 1;
    const target = { ArrowLeft: from - 1, ArrowRight: from + 1, Home: 0, End: last }[event.key];
    if (target === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    shared.set({ position: Math.min(last, Math.max(0, target)) });
    voice.say(() => readout.textContent);
  });
  return () => {
    twin.close();
    voice.close();
    view.close();
  };
});
