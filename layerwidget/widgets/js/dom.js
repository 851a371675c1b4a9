// Small pieces of page: elements, frames, sizes.

/** An element with attributes and children; text is always set as text, never as markup. */
export function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    // Not as an attribute: a page may forbid those in its content policy.
    else if (name === "style") node.style.cssText = value;
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child != null));
  return node;
}

/** Attributes of everything that takes the keyboard: the notebook must not read the keys as its own. */
export const KEYS = { "data-lm-suppress-shortcuts": "true" };

/** Sets a node's text where it is another: even the same text set again would be laid out anew. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** What a title line says besides the title: each fact as a whole, and those that have no room are left out from the last on. */
export function setFacts(node, facts) {
  const said = facts.filter(Boolean);
  const whole = said.join(" · ");
  if (node.title === whole) return;
  node.classList.add("lw-facts-line");
  node.title = whole;
  node.replaceChildren(...said.map((fact) => element("span", {}, ` · ${fact}`)));
}

/** A drop-down with a label for screen readers. */
export function choice(label, options, value, onpick) {
  const select = element("select", { ...KEYS, "aria-label": label, title: label, class: "lw-choice" });
  for (const [key, text] of options) select.append(element("option", { value: key }, text));
  select.value = value;
  select.addEventListener("change", () => onpick(select.value));
  return select;
}

/** Runs `draw` at most once per frame; `now` does not wait for the frame, where one is to come. */
export function onFrame(draw) {
  let frame = 0;
  const schedule = () => {
    if (!frame) frame = requestAnimationFrame(() => { frame = 0; draw(); });
  };
  schedule.cancel = () => cancelAnimationFrame(frame);
  schedule.now = () => {
    if (!frame) return;
    cancelAnimationFrame(frame);
    frame = 0;
    draw();
  };
  return schedule;
}

/** How much larger a node is drawn than its own px say: 1.6 in a talk. */
export function zoomOf(node) {
  return node.currentCSSZoom ?? 1;
}

/** Where the pointer is inside a node, in the node's own px. */
export function pointIn(node, event) {
  const [box, zoom] = [node.getBoundingClientRect(), zoomOf(node)];
  return [(event.clientX - box.left) / zoom, (event.clientY - box.top) / zoom];
}

/** Sizes a canvas in CSS pixels at the device's resolution and returns its cleared context. */
export function sizedContext(canvas, width, height) {
  const ratio = (globalThis.devicePixelRatio || 1) * zoomOf(canvas);
  const [w, h] = [Math.max(1, Math.round(width * ratio)), Math.max(1, Math.round(height * ratio))];
  if (canvas.width !== w || canvas.height !== h) {
    canvas.width = w;
    canvas.height = h;
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}

/** Draws inside a box only: a clip that is not taken back would hold for whatever the canvas is drawn with later. */
export function clipped(context, box, draw) {
  context.save();
  context.beginPath();
  context.rect(...box);
  context.clip();
  draw();
  context.restore();
}

const fitted = new Map();

/** The longest head of `text` that fits into `width`, with an ellipsis where it was cut. */
export function fitText(context, text, width) {
  const key = `${context.font}|${Math.round(width)}|${text}`;
  let short = fitted.get(key);
  if (short === undefined) {
    if (fitted.size > 50000) fitted.clear();
    short = text;
    if (context.measureText(text).width > width) {
      const chars = [...text];
      let low = 0;
      let high = chars.length;
      while (low < high) {
        const middle = (low + high + 1) >> 1;
        if (context.measureText(chars.slice(0, middle).join("") + "…").width <= width) low = middle;
        else high = middle - 1;
      }
      short = low ? chars.slice(0, low).join("") + "…" : chars[0] ?? "";
    }
    fitted.set(key, short);
  }
  return short;
}

/** One leading space is left out inside a cell, where there is no room for it; what is said of the cell has it. */
export function cellWord(visible) {
  return visible.length > 1 && visible[0] === "␣" && visible[1] !== "␣" ? visible.slice(1) : visible;
}

/** By what hosts say which theme they have: JupyterLab, VS Code, Colab, marimo and others. */
const THEME_MARKS = ["class", "style", "theme", "data-theme", "data-jp-theme-name", "data-jp-theme-light", "data-vscode-theme-kind"];

/** Where they say it: the page, and what is around a node in a shadow of its own (marimo). */
function themeMarked(node) {
  const around = [];
  if (node.getRootNode() instanceof ShadowRoot) for (let up = node.parentElement; up; up = up.parentElement) around.push(up);
  return [document.documentElement, document.body, ...around];
}

/** Calls `changed` when a px of the page gets other pixels: on another screen, or at another zoom; returns what stops it. */
function watchPixels(changed) {
  let media = null;
  const forget = () => media.removeEventListener("change", heard);
  const watch = () => {
    media = matchMedia(`(resolution: ${globalThis.devicePixelRatio || 1}dppx)`);
    media.addEventListener("change", heard);
  };
  function heard() {
    // A query is about one ratio: of a change from the next one it would say nothing.
    forget();
    watch();
    changed();
  }
  watch();
  return forget;
}

/**
 * Calls `changed` when the element's size, the page's theme, the explorer's preset or the device's pixels change;
 * returns what stops it.
 */
export function watchLook(node, changed) {
  const themes = new MutationObserver(changed);
  const watch = (target) => themes.observe(target, { attributes: true, attributeFilter: THEME_MARKS });
  themeMarked(node).forEach(watch);
  let explorer = null;
  const sizes = new ResizeObserver(() => {
    // Only now the node has its place in the page, and is in its explorer.
    const around = node.closest(".lw-explorer");
    if (around && around !== explorer) watch(around);
    explorer = around;
    themeMarked(node).forEach(watch);
    changed();
  });
  sizes.observe(node);
  const medias = ["(prefers-color-scheme: dark)", "(forced-colors: active)"].map((query) => matchMedia(query));
  for (const media of medias) media.addEventListener("change", changed);
  const offPixels = watchPixels(changed);
  return () => {
    sizes.disconnect();
    themes.disconnect();
    offPixels();
    for (const media of medias) media.removeEventListener("change", changed);
  };
}

/** Scrolls a box, and nothing around it, until one of its parts is seen: the page may not move while somebody types. */
export function keepInSight(box, part) {
  const [seen, place] = [box.getBoundingClientRect(), part.getBoundingClientRect()];
  const zoom = zoomOf(box);
  const [above, below] = [(place.top - seen.top) / zoom - box.clientTop - 4, (place.bottom - seen.top) / zoom - box.clientTop + 4];
  if (above < 0) box.scrollTop += above;
  else if (below > box.clientHeight) box.scrollTop += below - box.clientHeight;
}

/** What hosts put an output in: JupyterLab, VS Code, Colab. */
const HOSTS = ".jp-OutputArea, .cell_container, .cell-output-ipywidget-background, #output-area";

/** Marks what stands around a node as alive, as soon as it stands there; returns what takes the mark back. */
export function markAlive(node) {
  const marked = [];
  // Told before the first frame in which the node is seen.
  const placed = new ResizeObserver(() => {
    for (let host = node.closest(HOSTS); host; host = host.parentElement?.closest(HOSTS)) marked.push(host);
    for (const host of marked) host.classList.add("lw-alive");
    if (node.isConnected) placed.disconnect();
  });
  placed.observe(node);
  return () => {
    placed.disconnect();
    for (const host of marked) {
      const others = [...host.querySelectorAll(".lw")].filter((other) => !node.contains(other));
      if (!others.length) host.classList.remove("lw-alive");
    }
  };
}
