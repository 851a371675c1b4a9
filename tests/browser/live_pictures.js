// Draws views without a notebook, and writes down what they draw. `modules` are those of the package.

const drawnOn = new WeakMap();

function callsOf(context) {
  if (!drawnOn.has(context.canvas)) drawnOn.set(context.canvas, []);
  return drawnOn.get(context.canvas);
}

/** Lets `note` hear of every call of a function of canvases. */
function spied(name, note) {
  const own = CanvasRenderingContext2D.prototype[name];
  CanvasRenderingContext2D.prototype[name] = function (...args) {
    note(this, args);
    return own.apply(this, args);
  };
}

// Every picture begins with a cleared canvas.
spied("clearRect", (context) => drawnOn.set(context.canvas, []));
spied("fillRect", (context, box) => callsOf(context).push({ kind: "box", box, colour: context.fillStyle }));
spied("fillText", (context, [words]) => callsOf(context).push({ kind: "words", words: String(words), colour: context.fillStyle }));
spied("drawImage", (context, [sheet, ...places]) => {
  const part = places.length === 8 ? places.slice(0, 4) : [0, 0, sheet.width, sheet.height];
  const { data } = sheet.getContext("2d").getImageData(...part);
  callsOf(context).push({ kind: "image", width: part[2], height: part[3], pixels: [...data] });
});

const seen = (node) => node.checkVisibility({ visibilityProperty: true });
const mounted = [];

window.mountViews = async (cases) => {
  for (const { module, traits, messages, width } of cases) {
    const el = document.createElement("div");
    el.style.width = `${width}px`;
    document.body.append(el);
    const model = modules.recorded_model.recordedModel({}, { traits, messages: messages.map((content) => ({ content, buffers: [] })) });
    const widget = modules[module].default;
    const made = typeof widget === "function" ? await widget() : widget;
    await made.initialize?.({ model });
    await made.render({ model, el });
    mounted.push({ el, waits: messages.length > 0 });
  }
};

window.lateViews = () => mounted.filter(({ el, waits }) => waits && el.dataset.revision === undefined && !el.matches(".lw-editor")).map(({ el }) => el.className);

function textsOf(el) {
  const texts = [];
  const walker = document.createTreeWalker(el, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) if (seen(node.parentElement)) texts.push(node.data);
  const told = [...el.querySelectorAll("[aria-valuetext]")].map((node) => node.getAttribute("aria-valuetext"));
  const fields = [...el.querySelectorAll("textarea, select")].filter(seen).map((node) => node.selectedOptions?.[0]?.textContent ?? node.value);
  return [...texts, ...told, ...fields, ...[...el.querySelectorAll("div, button, span")].filter(seen).map((node) => node.textContent)];
}

/** What says something about the data: everything but what one can press or is asked to, and what only the page has opened. */
function saidIn(el) {
  const said = [];
  const walker = document.createTreeWalker(el, NodeFilter.SHOW_TEXT);
  const controls = "button:not(.lw-word, .lw-neuron, .lw-chip, .lw-map-end, .lw-map-sort), select, label, textarea, .lw-twin, .lw-chip-index, .lw-token-choices, .lw-map-pane, .lw-pins-title:only-child";
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    if (seen(node.parentElement) && !node.parentElement.closest(controls)) said.push(node.data);
  }
  return said;
}

function barOf(node) {
  const [bar, track] = [node.getBoundingClientRect(), node.parentElement.getBoundingClientRect()];
  return [(bar.left - track.left) / track.width, bar.width / track.width, getComputedStyle(node).backgroundColor];
}

/** What all views show after some frames. */
window.readViews = async () => {
  for (let frame = 0; frame < 4; frame += 1) await new Promise(requestAnimationFrame);
  return mounted.map(({ el }) => ({
    canvases: [...el.querySelectorAll("canvas")].map((canvas) => (seen(canvas) ? drawnOn.get(canvas) ?? [] : [])),
    texts: textsOf(el),
    said: saidIn(el),
    layers: [...el.querySelectorAll(".lw-rail-layer, .lw-map-row")].map((node) => [Number(/\d+/.exec(node.title)[0]), node.matches(".lw-in"), node.matches(".lw-here")]),
    bars: [...el.querySelectorAll(".lw-bar-fill, .lw-signed-fill")].filter(seen).map(barOf),
    chips: [...el.querySelectorAll(".lw-chip")].filter(seen).map((chip) => [chip.firstChild.textContent, getComputedStyle(chip).backgroundColor]),
  }));
};
