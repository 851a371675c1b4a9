// The page of an exported explorer: its boxes, one model for each view, and what the kernel did for all of them.

import { shareTraits } from "./bus.js";
import { KEYS, element } from "./dom.js";
import { recordedModel } from "./recorded_model.js";
import { unpackRecording } from "./recording.js";
import { layerNumbers } from "./rows.js";
import { makeVoice } from "./voice.js";

const SHARED_TRAITS = ["layers", "layer", "head", "position", "token", "tokens"];
const KEYS_LINE = [["1 – 9", "a prompt or scene"], ["n p", "the next, the previous one"], ["Tab", "to a grid or slider"], ["arrows", "move in it"], ["t", "light or dark"]];

/** Light or dark as the reader's system has it, until they switch. */
function makeThemeSwitch() {
  const wanted = matchMedia("(prefers-color-scheme: dark)");
  let chosen = null;
  const isDark = () => chosen ?? wanted.matches;
  const apply = () => {
    const { dataset } = document.documentElement;
    dataset.jpThemeLight = String(!isDark());
    // Views look at this one to draw anew.
    dataset.theme = isDark() ? "dark" : "light";
    node.setAttribute("aria-pressed", String(isDark()));
  };
  const node = element("button", { ...KEYS, type: "button", class: "lw-button lw-theme", title: "Light or dark (t)", "aria-label": "Dark" }, "◐");
  const flip = () => { chosen = !isDark(); apply(); };
  node.addEventListener("click", flip);
  wanted.addEventListener("change", apply);
  apply();
  return { node, flip };
}

/** A button for each recorded prompt; arrows go from one to the next. */
function makePromptChoice(prompts, choose) {
  const said = prompts.map(({ text, target }) => (target ? `${text} → ${target}` : text));
  const buttons = said.map((text, index) => element("button", {
    ...KEYS, type: "button", class: "lw-prompt-button", role: "radio", title: text, onclick: () => choose(index),
  }, element("b", {}, index + 1), element("span", {}, text)));
  const node = element("div", { class: "lw lw-prompts", role: "radiogroup", "aria-label": "Recorded prompts" }, ...buttons);
  // Scenes have a bar of their own.
  node.hidden = prompts.length < 2 || prompts.every(({ title }) => title !== undefined);
  node.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const from = buttons.indexOf(document.activeElement);
    if (!step || from < 0) return;
    event.preventDefault();
    const to = (from + step + buttons.length) % buttons.length;
    choose(to);
  });
  const mark = (chosen) => buttons.forEach((button, index) => {
    // By a key of the page it is chosen too, wherever the keyboard is.
    if (index === chosen && node.contains(document.activeElement)) button.focus();
    button.setAttribute("aria-checked", String(index === chosen));
    button.tabIndex = index === chosen ? 0 : -1;
    if (index === chosen) button.scrollIntoView({ block: "nearest", inline: "nearest" });
  });
  return { node, mark };
}

/** The bar of a talk, where scenes were recorded: the one of the notebook. */
function makeSceneBar(prompts, place, modules, choose) {
  const words = prompts.filter(({ title }) => title !== undefined).map(({ title, caption }) => [title, caption]);
  const node = element("div", {});
  const model = recordedModel(place, { traits: { words, scene: null } });
  model.on("change:scene", () => { if (model.get("scene") !== null) choose(model.get("scene")); });
  if (words.length) modules.scene_bar.default.render({ model, el: node });
  return { node, count: words.length, mark: (index) => model.set("scene", index < words.length ? index : null) };
}

/** "layer 18, position 20" */
export function placeWords(about, place) {
  return Object.keys(about).filter((name) => name !== "token").map((name) => `${name} ${place[name]}`).join(", ");
}

/** The choices of which the answers of a page know nothing: where the reader is elsewhere than when it was recorded. */
export function movedAway(about, recorded, now) {
  return Object.keys(about).filter((name) => recorded[name] !== now(name));
}

/** One line above a page whose answers are about the place where it was recorded. */
function makeRecordedLine(shared, name, dim) {
  const words = element("span", {});
  const back = element("button", { ...KEYS, type: "button", class: "lw-button" }, "go back there");
  const node = element("div", { class: "lw lw-recorded-at" }, words, back);
  const voice = makeVoice(shared, node, { guest: true });
  let [about, recorded, told] = [{}, {}, ""];
  back.addEventListener("click", () => shared.set(Object.fromEntries(Object.keys(about).map((name) => [name, recorded[name]]))));
  const draw = () => {
    const moved = movedAway(about, recorded, shared.get);
    const where = placeWords(about, recorded);
    node.hidden = !Object.keys(about).length;
    node.classList.toggle("lw-elsewhere", moved.length > 0);
    const whole = moved.some((name) => about[name] === "all");
    words.textContent = !moved.length ? `Recorded at ${where}.`
      : `Recorded at ${where}: ${whole ? "this page stays" : "a part of this page stays"} there, while you are elsewhere.`;
    dim(whole);
    tell();
  };
  /** Nothing is said of a page that is not open. */
  const tell = () => {
    const now = node.isConnected && !node.hidden ? words.textContent : "";
    if (told !== now) voice.say(() => now, { slot: `recorded ${name}` });
    told = now;
  };
  shared.listen((trait) => { if (trait in about) draw(); });
  return { node, show(next, place) { [about, recorded] = [next, place]; draw(); } };
}

function dress(node, { css, classes = [] }) {
  node.style.cssText = "";
  for (const [name, value] of Object.entries(css ?? {})) node.style.setProperty(name, value);
  node.classList.add(...classes);
}

/** Everything that a page shows: nodes by the names of the recorded widgets, and their models. */
function makeViews(modules, place, saved) {
  const held = new Map();
  const waiting = [];
  let state = null;
  const mount = async ({ node, part }) => {
    const { name } = part;
    const module = modules[part.module]?.default;
    if (part.kind === "text") {
      apply(held.get(name), state.views[name]);
      return;
    }
    const model = recordedModel(place, state.views[name], saved);
    held.get(name).model = model;
    const widget = typeof module === "function" ? await module() : module;
    await widget.initialize?.({ model });
    await widget.render?.({ model, el: node });
  };
  const build = (part) => {
    if (!part) return null;
    const node = element("div", {});
    dress(node, part);
    if (part.inside) {
      node.classList.add("widget-box", part.kind === "row" ? "widget-hbox" : "widget-vbox");
      node.append(...part.inside.map(build));
      return node;
    }
    held.set(part.name, { node, part });
    waiting.push({ node, part });
    if (part.kind === "text") node.classList.add("widget-label");
    return node;
  };
  const apply = ({ node, part, model }, recorded) => {
    dress(node, { ...part, css: recorded.css });
    if (part.kind === "text") node.textContent = recorded.traits.value;
    else model?.replay(recorded);
  };
  return {
    build,
    /** Draw what has been put into the page since; a view has to know its size. */
    async mountAll() {
      while (waiting.length) await mount(waiting.shift());
    },
    show(next) {
      state = next;
      for (const [name, view] of held) apply(view, next.views[name]);
    },
    model: (name) => held.get(name)?.model,
  };
}

/** The open pages, one under the other, as in the notebook: the slider stands beside the first. */
function makePages(head, views, shared, { slider, tabs }) {
  const column = (name, ...inside) => element("div", { class: `widget-box widget-vbox ${name}`, style: "width:100%" }, ...inside);
  const [above, below] = [column("lw-stack-above"), column("lw-stack-below")];
  const first = element("div", { class: "widget-box widget-hbox lw-stack-first", style: "align-items:flex-start;width:100%" });
  const stack = column("lw-stack", tabs, above, first, below);
  const made = new Map();
  const make = (page) => {
    const dim = (whole) => [parts.beside, ...parts.above, ...parts.below].forEach((node) => node?.classList.toggle("lw-faded", whole));
    const line = makeRecordedLine(shared, page.name, (whole) => dim(whole));
    const parts = { line, page, beside: views.build(page.beside), above: page.above.map(views.build), below: page.below.map(views.build) };
    return parts;
  };
  const open = (name) => {
    if (!made.has(name)) made.set(name, make(head.pages.find((page) => page.name === name)));
    return made.get(name);
  };
  const parts = ({ beside, above: over, below: under, line }) => [line.node, ...over, ...(beside ? [beside] : []), ...under];
  return {
    node: stack,
    arrange(shown) {
      const [top, ...others] = shown.map(open);
      above.replaceChildren(top.line.node, ...top.above);
      first.replaceChildren(...[top.page.rail ? slider : null, top.beside].filter(Boolean));
      below.replaceChildren(...top.below, ...others.map((other) => column("", ...parts(other))));
      stack.className = `widget-box widget-vbox lw-stack ${others.length ? "" : `lw-only-${shown[0]}`}`;
    },
    tell(prompt) {
      for (const [name, { line }] of made) line.show(prompt.about[name] ?? {}, prompt.place);
    },
  };
}

function foot(head) {
  const keys = KEYS_LINE.slice(head.prompts.length < 2 ? 2 : 0).map(([key, what]) => element("span", {}, element("kbd", {}, key), ` ${what}`));
  const missing = head.left_out.length ? element("span", {}, `In the notebook only: ${head.left_out.join(", ")}`) : null;
  return element("footer", { class: "lw-page-foot" }, element("span", {}, `Recorded with layerwidget ${head.version}`), missing, ...keys);
}

async function openPage(root, modules) {
  const block = (id) => unpackRecording(document.getElementById(id).textContent);
  const head = await block("lw-head");
  const states = new Map();
  const stateOf = async (index) => {
    if (!states.has(index)) states.set(index, block(`lw-prompt-${index}`));
    return states.get(index);
  };
  const place = { ...head.prompts[0].place, group: "recorded" };
  /** As the explorer does: the chosen layer stays among those in view. */
  const settle = () => {
    const layers = layerNumbers(shared.get("layers"));
    const layer = shared.get("layer");
    if (layers.includes(layer)) return;
    shared.set({ layer: layers.reduce((best, one) => (Math.abs(one - layer) < Math.abs(best - layer) ? one : best)) });
  };
  const shared = shareTraits(recordedModel(place, {}), SHARED_TRAITS);
  const views = makeViews(modules, place, settle);
  const theme = makeThemeSwitch();
  let now = -1;
  const choice = makePromptChoice(head.prompts, (index) => show(index));
  const scenes = makeSceneBar(head.prompts, place, modules, (index) => show(index));
  const slider = views.build(head.parts.slider);
  const tabs = { node: element("div", {}), open: () => {} };
  const pages = makePages(head, views, shared, { slider, tabs: tabs.node });
  const show = async (index) => {
    if (index === now) return;
    now = index;
    choice.mark(index);
    scenes.mark(index);
    const state = await stateOf(index);
    // Somebody may have gone on meanwhile.
    if (now !== index) return;
    const prompt = head.prompts[index];
    // A prompt is looked at from where the reader is, a scene from where it was prepared.
    shared.set(prompt.pages ? prompt.place : { position: prompt.place.position });
    views.show(state);
    if (prompt.pages) tabs.open(prompt.pages);
    pages.tell(prompt);
    await views.mountAll();
    root.dataset.prompt = index;
  };
  const body = element("div", { class: "widget-box widget-vbox lw-body" }, choice.node, views.build(head.parts.editor), pages.node);
  const status = views.build(head.parts.status);
  const box = element("div", { class: `lw-explorer lw-${head.preset}` }, status, ...(scenes.count ? [scenes.node] : []), body);
  root.replaceChildren(...[head.title ? element("h1", { class: "lw-page-title" }, head.title) : null, box, foot(head)].filter(Boolean));
  tabs.open = await openTabs(head, modules, tabs.node, async (shown) => {
    pages.arrange(shown);
    if (now < 0) return;
    pages.tell(head.prompts[now]);
    await views.mountAll();
  });
  await show(0);
  status.querySelector(".lw-line")?.append(theme.node);
  listenToKeys({ count: head.prompts.length, scenes: scenes.count, now: () => now, show, theme });
  root.classList.add("lw-ready");
}

/** Tabs, where more than one page was recorded; returns what opens some of them. */
async function openTabs(head, modules, node, arrange) {
  const titles = head.pages.map(({ name, title }) => [name, title]);
  const model = recordedModel({}, { traits: { titles, shown: head.shown } });
  model.on("change:shown", () => arrange(model.get("shown")));
  node.hidden = titles.length < 2;
  modules.tab_bar.default.render({ model, el: node });
  await arrange(head.shown);
  return (shown) => model.set("shown", shown);
}

/** Keys that are nobody's in particular. */
function listenToKeys({ count, scenes, now, show, theme }) {
  /** A presenter's remote has two keys. */
  const steps = (key) => ({ n: now() + 1, p: now() - 1, ...(scenes && { PageDown: now() + 1, PageUp: now() - 1 }) })[key];
  document.addEventListener("keydown", (event) => {
    const { target, key } = event;
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (target.matches?.("select, input:not([type=checkbox])") || (target.matches?.("textarea") && !target.readOnly)) return;
    const index = /^[1-9]$/.test(key) ? Number(key) - 1 : steps(key);
    if (key === "t") theme.flip();
    else if (index >= 0 && index < count) show(index);
    else return;
    event.preventDefault();
  });
}

export default (root, modules) => {
  openPage(root, modules).catch((error) => {
    root.replaceChildren(element("div", { class: "lw-page-failed", role: "alert" },
      typeof DecompressionStream === "undefined"
        ? "This browser is too old for this page: it needs Chrome 80, Firefox 113 or Safari 16.4, or later."
        : `This page could not be drawn: ${error.message}`));
    throw error;
  });
};
