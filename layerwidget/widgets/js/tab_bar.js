// Tabs: which pages are open, and in which order.

import { KEYS, element } from "./dom.js";

/** The open pages after one was added or closed; the last one stays. */
export function toggled(open, name) {
  if (!open.includes(name)) return [...open, name];
  return open.length > 1 ? open.filter((other) => other !== name) : open;
}

/** The open pages with one of them moved. */
export function movedPage(open, name, by) {
  const from = open.indexOf(name);
  const to = Math.min(open.length - 1, Math.max(0, from + by));
  if (from < 0) return open;
  const moved = open.filter((other) => other !== name);
  moved.splice(to, 0, name);
  return moved;
}

export default {
  render({ model, el }) {
    const list = element("div", { class: "lw-tabs", role: "tablist", "aria-label": "Pages", "aria-multiselectable": "true" });
    el.classList.add("lw", "lw-tab-bar");
    el.append(list);
    const set = (open) => {
      model.set("shown", open);
      model.save_changes();
    };
    const focus = (index) => {
      const tabs = [...list.querySelectorAll(".lw-tab")];
      tabs[(index + tabs.length) % tabs.length]?.focus();
    };
    const close = (name) => { if (model.get("shown").includes(name)) set(toggled(model.get("shown"), name)); };
    const onKey = (event, name, index) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (step && event.altKey) set(movedPage(model.get("shown"), name, step));
      else if (step) focus(index + step);
      else if (event.key === "Delete") close(name);
      else if (event.key === "Enter" || event.key === " ") set(event.shiftKey ? toggled(model.get("shown"), name) : [name]);
      else return;
      event.preventDefault();
      event.stopPropagation();
    };
    const makeTab = ([name, title], index) => {
      const open = model.get("shown");
      const isOpen = open.includes(name);
      const alone = isOpen && open.length === 1;
      const tab = element("button", {
        ...KEYS, class: "lw-tab", type: "button", role: "tab", "data-page": name, "data-title": title, "aria-selected": String(isOpen),
        "aria-keyshortcuts": isOpen ? "Shift+Enter Delete Alt+ArrowLeft Alt+ArrowRight" : "Shift+Enter",
        tabindex: name === open[0] ? 0 : -1, onclick: (event) => set(event.shiftKey ? toggled(model.get("shown"), name) : [name]),
        onkeydown: (event) => onKey(event, name, index),
      }, title);
      tab.dataset.tip = isOpen ? "Shift+Enter closes it, Alt with an arrow key moves it" : `Enter shows ${title} alone, Shift+Enter under what is open`;
      const words = isOpen ? `Close ${title}` : `Show ${title} under what is open`;
      // For the pointer alone: a list of tabs holds nothing else, and keys do the same on the tab.
      const more = element("button", {
        ...KEYS, class: "lw-tab-more", type: "button", tabindex: -1, title: words, "aria-hidden": "true",
        onclick: () => set(toggled(model.get("shown"), name)),
      }, isOpen ? "×" : "+");
      more.disabled = alone;
      return element("span", { class: isOpen ? "lw-tab-box lw-open" : "lw-tab-box", role: "presentation" }, tab, more);
    };
    const draw = () => {
      const focused = list.contains(document.activeElement) ? document.activeElement.dataset.page : null;
      list.replaceChildren(...model.get("titles").map(makeTab));
      if (focused) list.querySelector(`[data-page="${CSS.escape(focused)}"]`)?.focus();
    };
    for (const name of ["titles", "shown"]) model.on(`change:${name}`, draw);
    draw();
    return () => { for (const name of ["titles", "shown"]) model.off(`change:${name}`, draw); };
  },
};
