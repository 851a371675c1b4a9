// Who comes by key sees what the pointer sees: the title of what has the focus. And the keys are the page's own.

import { element } from "./dom.js";

/** Between what has the focus and its tip. */
const APART_PX = 4;

/** Where a tip of some size stands: below what it is about, above it where there is no room, inside the window. */
export function tipPlace({ left, top, bottom }, { width, height }, window) {
  const below = bottom + APART_PX + height <= window.height;
  return {
    left: Math.max(0, Math.min(left, window.width - width - APART_PX)),
    top: below ? bottom + APART_PX : Math.max(0, top - APART_PX - height),
  };
}

/**
 * Follows the focus among everything inside what matches `selector`; returns the function that stops it.
 *
 * The notebook takes keys from whatever is not marked, such as the buttons and sliders of ipywidgets.
 */
export function followFocus(el, selector) {
  // A figure in an explorer is followed twice: there is one tip for all.
  const tip = (globalThis.layerwidgetTip ??= element("div", { class: "lw lw-tip", "aria-hidden": "true" }));
  const hide = () => tip.remove();
  const show = (node) => {
    hide();
    const text = node.dataset.tip || node.title;
    if (!text || !node.matches(":focus-visible")) return;
    tip.textContent = text;
    // Not among the notebook's cells, which move and cut off what is fixed in them.
    document.body.append(tip);
    const room = { width: document.documentElement.clientWidth, height: document.documentElement.clientHeight };
    const { left, top } = tipPlace(node.getBoundingClientRect(), tip.getBoundingClientRect(), room);
    Object.assign(tip.style, { left: `${left}px`, top: `${top}px` });
  };
  const enter = ({ target }) => {
    if (!el.closest(selector)?.contains(target)) return;
    target.dataset.lmSuppressShortcuts = "true";
    show(target);
  };
  // Keys change what is chosen, and with it what is said of it.
  const later = ({ target }) => { if (tip.isConnected || target.dataset?.tip) requestAnimationFrame(() => { if (target === document.activeElement) show(target); }); };
  const dismiss = (event) => { if (event.key === "Escape") hide(); };
  const listeners = { focusin: enter, focusout: hide, pointerdown: hide, keydown: dismiss, keyup: later };
  for (const [name, listener] of Object.entries(listeners)) document.addEventListener(name, listener, true);
  document.addEventListener("scroll", hide, true);
  return () => {
    hide();
    for (const [name, listener] of Object.entries(listeners)) document.removeEventListener(name, listener, true);
    document.removeEventListener("scroll", hide, true);
  };
}
