// What one head takes from each token of the prompt towards a logit, as bars.

import { shareTraits } from "./bus.js";
import { typeSize } from "./colour.js";
import { paintColumnWord, paintUnit } from "./column_words.js";
import { KEYS, clipped, element, pointIn, setFacts, sizedContext } from "./dom.js";
import { openView } from "./drawn_view.js";
import { exactValue, shortValue } from "./heat_cells.js";
import { withStore } from "./store.js";
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
  const voice = makeVoice(shared, el, { news: () => readout.textContent });

  // Whether the largest bar is to be brought into sight: before it is drawn, so that all is drawn once.
  let revealing = false;
  /** Scrolls as far as needed to show a bar. */
  const reveal = (place, { column, width }) => {
    const [left, room] = [place * column, width - AXIS_WIDTH];
    if (left < scroll.scrollLeft) scroll.scrollLeft = left;
    else if (left + column > scroll.scrollLeft + room) scroll.scrollLeft = left + column - room;
  };
  const makeScene = (data, looks) => {
    const values = data.sources.data;
    const [width, count] = [scroll.clientWidth, data.labels.length];
    const [low, high] = sourceEnds(values);
    const column = sourceWidth(count, width - AXIS_WIDTH);
    spacer.style.width = `${AXIS_WIDTH + column * count}px`;
    const foot = scroll.offsetHeight - SCROLL_BAR - WORDS_HEIGHT;
    spacer.style.height = `${foot + WORDS_HEIGHT}px`;
    const y = (value) => PAD + ((high - value) / (high - low)) * (foot - 2 * PAD);
    const largest = largestPlace(values);
    if (revealing && width) {
      reveal(largest, { column, width });
      revealing = false;
    }
    return { data, values, count, width, column, low, high, y, foot, x: scroll.scrollLeft, largest, ...looks };
  };
  const axis = (context, { width, low, high, y, palette }) => {
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
  const bar = (context, { values, column, y, hover, palette }, place, left) => {
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
  const word = (context, { data, column, foot, hover, palette }, place, left) => {
    context.fillStyle = place === shared.get("position") ? palette.accent : place === hover ? palette.ink : palette.muted;
    paintColumnWord(context, { word: data.labels[place], x: left + column / 2, foot, column, room: WORDS_HEIGHT - 8 }, palette);
  };
  const paint = (scene) => {
    const { column, count, width, x, foot } = scene;
    const context = sizedContext(canvas, width, foot + WORDS_HEIGHT);
    context.textBaseline = "middle";
    axis(context, scene);
    const stop = Math.min(count, Math.ceil((x + width - AXIS_WIDTH) / column));
    clipped(context, [AXIS_WIDTH, 0, width, foot + WORDS_HEIGHT], () => {
      for (let place = Math.floor(x / column); place < stop; place += 1) {
        const left = AXIS_WIDTH + place * column - x;
        bar(context, scene, place, left);
        word(context, scene, place, left);
      }
    });
  };
  const view = openView({ model, el, store, shared }, {
    empty,
    traits: ["placeholder"],
    begin() { empty.textContent = model.get("placeholder"); },
    scene: makeScene,
    show(scene) {
      const { data, hover, values, largest } = scene;
      paint(scene);
      const whose = `“${data.token}”${data.minus === null ? "" : ` minus “${data.minus}”`}`;
      setFacts(detail, [`layer ${data.layers[0]} head ${data.head}`, `to ${whose}`, `sum ${exactValue(data.total)} logits`]);
      const place = hover ?? largest;
      readout.textContent = `${hover === null ? "most from " : ""}“${data.labels[place]}” (position ${place}): ${exactValue(values[place])} logits`;
      scroll.setAttribute("aria-label", `What head ${data.head} of layer ${data.layers[0]} takes from each token: arrow keys read one after the other`);
      twin.changed();
    },
    clear() {
      setFacts(detail, []);
      readout.textContent = "";
    },
    came() { revealing = true; },
  });
  const twin = makeTwin(scroll, () => {
    const scene = view.scene();
    return scene && listTable(scroll.getAttribute("aria-label").split(":")[0], "token", "logits",
      scene.data.labels, view.hover() ?? scene.largest, (place) => exactValue(scene.values[place]));
  });
  const at = (event) => {
    const [scene, x] = [view.scene(), pointIn(scroll, event)[0] - AXIS_WIDTH];
    const place = scene && Math.floor((x + scroll.scrollLeft) / scene.column);
    return scene && x >= 0 && place < scene.count ? place : null;
  };
  scroll.addEventListener("pointermove", (event) => view.point(at(event)));
  scroll.addEventListener("pointerleave", () => view.point(null));
  scroll.addEventListener("scroll", () => { if (view.scene() && scroll.scrollLeft !== view.scene().x) view.draw(); });
  scroll.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, Home: -1e6, End: 1e6 }[event.key];
    const scene = view.scene();
    if (!step || !scene) return;
    event.preventDefault();
    event.stopPropagation();
    const place = Math.min(scene.count - 1, Math.max(0, (view.hover() ?? scene.largest) + step));
    view.point(place);
    reveal(place, scene);
    voice.say(() => readout.textContent);
  });
  scroll.addEventListener("blur", () => view.point(null));
  return () => {
    twin.close();
    voice.close();
    view.close();
  };
});
