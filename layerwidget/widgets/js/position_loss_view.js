// How surprised the model is by each token of the prompt, as bars.

import { shareTraits } from "./bus.js";
import { readPalette } from "./colour.js";
import { KEYS, element, onFrame, pointIn, setFacts, sizedContext, watchLook } from "./dom.js";
import { lossFrame, lossSummary, lossText, paintLoss, withoutLoss } from "./loss_bars.js";
import { dimStale, isText, withStore } from "./store.js";
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
  const twin = makeTwin(stage, () => frame && listTable("Loss by position", "token", "nats", store.data.labels, here(), (position) => {
    const value = store.data.nats.data[position];
    return Number.isFinite(value) ? value.toFixed(3) : "no value";
  }));
  let palette = null;
  let hover = null;
  let frame = null;
  const dim = () => dimStale(el, shared, store.data);
  const here = () => Math.min(shared.get("position"), store.data.labels.length - 1);
  const draw = onFrame(() => {
    const { data } = store;
    const ready = Boolean(data?.layers.length);
    title.textContent = model.get("title");
    const none = ready ? withoutLoss(data.nats.data) : model.get("placeholder");
    empty.textContent = none;
    empty.hidden = none === null;
    el.classList.toggle("lw-ready", ready);
    dim();
    palette = readPalette(el, palette);
    const width = stage.clientWidth;
    const context = sizedContext(canvas, width, none === null ? HEIGHT : 1);
    el.dataset.prompt = ready ? data.prompt ?? "" : "";
    if (none !== null) {
      frame = null;
      setFacts(detail, []);
      readout.textContent = "";
      return;
    }
    frame = lossFrame(width, HEIGHT, data.nats.data);
    stage.dataset.column = frame.step;
    paintLoss(context, frame, { data, palette, here: here(), hover });
    setFacts(detail, lossSummary(data, frame).split(" · "));
    readout.textContent = lossText(hover ?? here(), data);
    twin.changed();
    el.dataset.revision = data.revision;
  });

  const at = (event) => frame?.positionAt(pointIn(stage, event)[0]) ?? null;
  const enter = (position) => {
    if (position === hover) return;
    hover = position;
    draw();
  };
  stage.addEventListener("pointermove", (event) => enter(at(event)));
  stage.addEventListener("pointerleave", () => enter(null));
  stage.addEventListener("click", (event) => {
    const position = at(event);
    if (position !== null) shared.set({ position });
  });
  stage.addEventListener("keydown", (event) => {
    if (!frame) return;
    const last = store.data.labels.length - 1;
    const target = { ArrowLeft: here() - 1, ArrowRight: here() + 1, Home: 0, End: last }[event.key];
    if (target === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    shared.set({ position: Math.min(last, Math.max(0, target)) });
    voice.say(() => readout.textContent);
  });
  shared.listen((name) => {
    if (isText(name)) dim();
    else draw();
  });
  const words = ["change:title", "change:placeholder"];
  for (const word of words) model.on(word, draw);
  const off = [store.listen(() => { hover = null; draw(); }), watchLook(el, draw)];
  draw();
  return () => {
    off.forEach((stop) => stop());
    for (const word of words) model.off(word, draw);
    draw.cancel();
    twin.close();
    voice.close();
    shared.close();
  };
});
