// The largest parts of a logit as bars, with the choice of its tokens.

import { shareTraits } from "./bus.js";
import { KEYS, element, onFrame, setFacts } from "./dom.js";
import { exactValue } from "./heat_cells.js";
import { dimStale, isText, withStore } from "./store.js";

/** Left end and width of a bar in percent of its track: zero is in the middle, `largest` reaches an end. */
export function signedBar(value, largest) {
  const width = largest > 0 ? Math.min(50, (Math.abs(value) / largest) * 50) : 0;
  return { left: value < 0 ? 50 - width : 50, width };
}

/** The rows of the panel: the largest parts, all others in one, and the error; together they are the logit. */
export function ledgerRows({ parts, n_others, others, error, logit }) {
  const rest = n_others ? [{ name: `${n_others} other${n_others > 1 ? "s" : ""}`, layer: null, logit: others, kind: "rest" }] : [];
  return [
    ...parts, ...rest, { name: "error", layer: null, logit: error, kind: "error", text: error === 0 ? "0" : error.toExponential(1) },
    { name: "logit", layer: null, logit, kind: "total" },
  ];
}

/** A drop-down of tokens; `none` is what its first entry says. */
function tokenChoice(label, onpick) {
  const select = element("select", { ...KEYS, class: "lw-choice lw-token-choice", "aria-label": label, title: label });
  select.addEventListener("change", () => onpick(select.value === "" ? null : Number(select.value)));
  let offered = "";
  return {
    node: select,
    show(words, chosen, none) {
      const key = JSON.stringify([words, none]);
      if (key !== offered) {
        select.replaceChildren(element("option", { value: "" }, none), ...words.map(([id, text]) => element("option", { value: id }, text)));
        offered = key;
      }
      select.value = chosen ?? "";
    },
  };
}

function makeRow(choose) {
  const name = element("button", { ...KEYS, type: "button", class: "lw-word" });
  const fill = element("span", { class: "lw-signed-fill" });
  const value = element("span", { class: "lw-number" });
  const node = element("div", { class: "lw-part" }, name, element("span", { class: "lw-signed-track" }, fill), value);
  let part = null;
  name.addEventListener("click", () => { if (part?.layer != null) choose(part.layer); });
  return {
    node,
    show(next, largest, here) {
      part = next;
      node.dataset.kind = part.kind ?? "part";
      node.classList.toggle("lw-here", part.layer != null && part.layer === here);
      name.textContent = part.name;
      name.disabled = part.layer == null;
      name.title = part.layer == null ? part.name : `${part.name} · click to choose layer ${part.layer}`;
      const { left, width } = signedBar(part.logit, largest);
      Object.assign(fill.style, { left: `${left}%`, width: `${width}%` });
      fill.classList.toggle("lw-below", part.logit < 0);
      fill.hidden = part.kind === "total" || part.kind === "error";
      value.textContent = part.text ?? exactValue(part.logit);
    },
  };
}

export default withStore(({ model, el, store }) => {
  const shared = shareTraits(model, ["layer", "token", "minus"]);
  const of = tokenChoice("Whose logit", (token) => shared.set({ token }));
  const minus = tokenChoice("Minus the logit of", (token) => shared.set({ minus: token }));
  const title = element("span", { class: "lw-title" });
  const choices = element("div", { class: "lw-bar lw-token-choices" },
    element("span", {}, "logit of"), of.node, element("span", {}, "minus"), minus.node);
  const list = element("div", { class: "lw-parts" });
  const note = element("div", { class: "lw-parts-note" });
  const empty = element("div", { class: "lw-placeholder" });
  const body = element("div", { class: "lw-parts-body" }, list, note);
  const detail = element("span", { class: "lw-detail" });
  el.classList.add("lw", "lw-attribution");
  el.append(element("div", { class: "lw-bar" }, title, detail), element("div", { class: "lw-parts-frame" }, choices, body, empty));
  const rows = [];

  const dim = () => dimStale(el, shared, store.data);
  const choose = (layer) => shared.set({ layer });
  const draw = onFrame(() => {
    const { data } = store;
    const ready = Boolean(data?.layers.length);
    empty.textContent = model.get("placeholder");
    empty.hidden = ready;
    el.classList.toggle("lw-blank", !ready);
    el.classList.toggle("lw-ready", ready);
    dim();
    title.textContent = "Largest parts";
    setFacts(detail, []);
    choices.hidden = !model.get("answered");
    if (!ready) return;
    const whose = model.get("answered") ? "" : `“${data.token}”${data.minus === null ? "" : ` minus “${data.minus}”`}`;
    setFacts(detail, [whose, "logits", `after “${data.after}” (position ${data.position})`]);
    const words = model.get("words");
    of.show(words, shared.get("token"), `${data.own} (top)`);
    minus.show(words, shared.get("minus"), "nothing");
    const ledger = ledgerRows(data);
    const largest = Math.max(...data.parts.map((part) => Math.abs(part.logit)), Math.abs(data.others));
    while (rows.length < ledger.length) {
      rows.push(makeRow(choose));
      list.append(rows.at(-1).node);
    }
    rows.forEach((row, place) => {
      row.node.hidden = place >= ledger.length;
      if (place < ledger.length) row.show(ledger[place], largest, shared.get("layer"));
    });
    note.textContent = data.note;
    note.title = data.note;
    el.dataset.revision = data.revision;
    el.dataset.prompt = data.prompt ?? "";
  });
  shared.listen((name) => (isText(name) ? dim() : draw()));
  const events = ["change:words", "change:answered", "change:placeholder"];
  for (const event of events) model.on(event, draw);
  const off = store.listen(draw);
  draw();
  return () => {
    off();
    for (const event of events) model.off(event, draw);
    draw.cancel();
    shared.close();
  };
});
