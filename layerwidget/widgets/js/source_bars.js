// What one head takes from each token to a logit, as bars over the prompt.

import { shareTraits } from "./bus.js";
import { readPalette, typeSize } from "./colour.js";
import { paintColumnWord, paintUnit } from "./column_words.js";
import { KEYS, clipped, element, onFrame, pointIn, setFacts, sizedContext, watchLook } from "./dom.js";
import { exactValue, shortValue } from "./heat_cells.js";
import { dimStale, isText, withStore } from "./store.js";
import { listTable, makeTwin } from "./table_twin.js";
import { makeVoice } from "./voice.js";

const WORDS_HEIGHT = 78;
const SCROLL_BAR = 14;
const AXIS_WIDTH = 60;
const WIDTHS = [52, 36, 24, 16, 12];
const PAD = 14;

/** Width of a bar's column: the widest step at which all fit, else the narrowest, which scrolls. */
export function sourceWidth(count, room) {
  return WIDTHS.find((width) => width * count <= room) ?? WIDTHS.at(-1);
}

/** Both ends of the axis: alike on both sides of 0 where something is below it. */
export function sourceEnds(values) {
  const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0) || 1;
  return [values.some((value) => value < 0) ? -largest : 0, largest];
}

/** The place of the value that is farthest from 0. */
export function largestPlace(values) {
  return values.reduce((best, value, place) => (Math.abs(value) > Math.abs(values[best]) ? place : best), 0);
}

export default withStore(({ model, el, store }) => {
  const shared = shareTraits(model, ["position"]);
  const canvas = element("canvas");
  const detail = element("span", { class: "lw-detail" });
  const empty = element("div", { class: "lw-placeholder" });
  const spacer = element("div", { class: "lw-spacer" }, canvas);
  const scroll = element("div", { ...KEYS, class: "lw-scroll", tabindex: 0, role: "application", "aria-roledescription": "bars" }, spacer);
  const readout = element("div", { class: "lw-heat-readout" });
  el.classList.add("lw", "lw-sources");
  el.append(
    element("div", { class: "lw-bar" }, element("span", { class: "lw-title" }, "Source tokens"), detail),
    element("div", { class: "lw-sources-body" }, scroll, empty), readout);
  let palette = null;
  let scene = null;
  let hover = null;

  const voice = makeVoice(shared, el, { news: () => readout.textContent });
  const twin = makeTwin(scroll, () => scene && listTable(scroll.getAttribute("aria-label").split(":")[0], "token", "logits",
    scene.data.labels, hover ?? scene.largest, (place) => exactValue(scene.values[place])));

  const makeScene = (data) => {
    const values = data.sources.data;
    const [width, count] = [scroll.clientWidth, data.labels.length];
    const [low, high] = sourceEnds(values);
    const column = sourceWidth(count, width - AXIS_WIDTH);
    spacer.style.width = `${AXIS_WIDTH + column * count}px`;
    const foot = scroll.offsetHeight - SCROLL_BAR - WORDS_HEIGHT;
    spacer.style.height = `${foot + WORDS_HEIGHT}px`;
    const y = (value) => PAD + ((high - value) / (high - low)) * (foot - 2 * PAD);
    return { data, values, count, width, column, low, high, y, foot, x: scroll.scrollLeft, largest: largestPlace(values) };
  };
  const axis = (context, { width, low, high, y }) => {
    context.font = `${typeSize(palette, 11)} ${palette.font}`;
    context.textAlign = "right";
    for (const value of low < 0 ? [high, 0, low] : [high, 0]) {
      context.fillStyle = palette.muted;
      context.fillText(shortValue(value, 3), AXIS_WIDTH - 6, y(value));
      context.fillStyle = value === 0 ? palette.muted : palette.line;
      context.fillRect(AXIS_WIDTH, Math.round(y(value)), width, 1);
    }
    paintUnit(context, "logits", (y(low) + y(high)) / 2, palette);
  };
  const bar = (context, place, left) => {
    const { values, column, y } = scene;
    const value = values[place];
    const [top, foot] = [Math.min(y(0), y(value)), Math.max(y(0), y(value))];
    context.fillStyle = (value < 0 ? palette.below : palette.above).fills[place === hover ? 225 : 170];
    context.fillRect(left + 1.5, top, column - 3, Math.max(value === 0 ? 0 : 1, foot - top));
    if (column < 36 || value === 0) return;
    context.font = `${typeSize(palette, 11)} ${palette.font}`;
    context.textAlign = "center";
    context.fillStyle = palette.muted;
    context.fillText(shortValue(value, 2), left + column / 2, value < 0 ? foot + 8 : top - 7);
  };
  const word = (context, place, left) => {
    const { data, column, foot } = scene;
    context.fillStyle = place === shared.get("position") ? palette.accent : place === hover ? palette.ink : palette.muted;
    paintColumnWord(context, { word: data.labels[place], x: left + column / 2, foot, column, room: WORDS_HEIGHT - 8 }, palette);
  };
  const paint = () => {
    const { column, count, width, x, foot } = scene;
    const context = sizedContext(canvas, width, foot + WORDS_HEIGHT);
    context.textBaseline = "middle";
    axis(context, scene);
    const stop = Math.min(count, Math.ceil((x + width - AXIS_WIDTH) / column));
    clipped(context, [AXIS_WIDTH, 0, width, foot + WORDS_HEIGHT], () => {
      for (let place = Math.floor(x / column); place < stop; place += 1) {
        const left = AXIS_WIDTH + place * column - x;
        bar(context, place, left);
        word(context, place, left);
      }
    });
  };
  const dim = () => dimStale(el, shared, store.data);
  const draw = onFrame(() => {
    const { data } = store;
    const ready = Boolean(data?.layers.length);
    empty.textContent = model.get("placeholder");
    empty.hidden = ready;
    el.classList.toggle("lw-blank", !ready);
    el.classList.toggle("lw-ready", ready);
    dim();
    palette = readPalette(el, palette);
    scene = ready ? makeScene(data) : null;
    if (!scene) {
      setFacts(detail, []);
      readout.textContent = "";
      return;
    }
    paint();
    const whose = `“${data.token}”${data.minus === null ? "" : ` minus “${data.minus}”`}`;
    setFacts(detail, [`layer ${data.layers[0]} head ${data.head}`, `to ${whose}`, `sum ${exactValue(data.total)} logits`]);
    const place = hover ?? scene.largest;
    readout.textContent = `${hover === null ? "most from " : ""}“${data.labels[place]}” (position ${place}): ${exactValue(scene.values[place])} logits`;
    scroll.setAttribute("aria-label", `What head ${data.head} of layer ${data.layers[0]} takes from each token: arrow keys read one after the other`);
    twin.changed();
    el.dataset.revision = data.revision;
    el.dataset.prompt = data.prompt ?? "";
  });
  const enter = (place) => {
    if (place === hover) return;
    hover = place;
    draw();
  };
  /** Scrolls as far as needed to show a bar. */
  const reveal = (place) => {
    const [left, room] = [place * scene.column, scene.width - AXIS_WIDTH];
    if (left < scroll.scrollLeft) scroll.scrollLeft = left;
    else if (left + scene.column > scroll.scrollLeft + room) scroll.scrollLeft = left + scene.column - room;
  };
  scroll.addEventListener("pointermove", (event) => {
    const x = pointIn(scroll, event)[0] - AXIS_WIDTH;
    const place = scene && Math.floor((x + scroll.scrollLeft) / scene.column);
    enter(scene && x >= 0 && place < scene.count ? place : null);
  });
  scroll.addEventListener("pointerleave", () => enter(null));
  scroll.addEventListener("scroll", draw);
  scroll.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, Home: -1e6, End: 1e6 }[event.key];
    if (!step || !scene) return;
    event.preventDefault();
    event.stopPropagation();
    enter(Math.min(scene.count - 1, Math.max(0, (hover ?? scene.largest) + step)));
    reveal(hover);
    voice.say(() => readout.textContent);
  });
  scroll.addEventListener("blur", () => enter(null));
  shared.listen((name) => (isText(name) ? dim() : draw()));
  model.on("change:placeholder", draw);
  const off = [store.listen(() => {
    hover = null;
    draw();
    // After the next frame, when the bars have the size of the new data.
    requestAnimationFrame(() => requestAnimationFrame(() => { if (scene) reveal(scene.largest); }));
  }), watchLook(el, draw)];
  draw();
  return () => {
    off.forEach((stop) => stop());
    model.off("change:placeholder", draw);
    draw.cancel();
    twin.close();
    voice.close();
    shared.close();
  };
});
