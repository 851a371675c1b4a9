// One live region for all views of a group: it says what was chosen by key, and what became of the work.

import { element, setText } from "./dom.js";

/** What is chosen is said when the keys have rested for so long: not every cell on the way. */
const REST_MS = 250;

/** As a node says of another one: that it comes later in the document. */
const LATER = 4;

/** What a group of views has to say of new results: the words of the first one that is seen and has some. */
export function newest(common) {
  const seen = [...(common.news ?? [])].filter(([node]) => node.isConnected && node.getClientRects().length);
  seen.sort(([one], [other]) => (one.compareDocumentPosition(other) & LATER ? -1 : 1));
  for (const [, words] of seen) if (words()) return words();
  return "";
}

/**
 * The group's voice. The first of its views to open holds the region; where that one leaves, another one takes over.
 *
 * Whoever speaks has a `slot`: what one says does not make the others be read again. A view that comes and goes is a
 * `guest`: it speaks in the region of the others and never holds it, as a region that is hidden is not read.
 * `news()` are the words for what a view shows now, read with new results.
 */
export function makeVoice(shared, el, { guest = false, news = null } = {}) {
  let own = null;
  const timers = new Map();
  const region = () => {
    const common = shared.common();
    if (!common.voice && !guest) {
      own = element("div", { class: "lw-voice lw-unseen", role: "status", "aria-live": "polite", "aria-atomic": "false" });
      common.voice = own;
      el.append(own);
    }
    return common.voice;
  };
  const put = (slot, text) => {
    const place = region();
    if (!place) return;
    const line = [...place.children].find((one) => one.dataset.slot === slot) ?? element("div", { "data-slot": slot });
    if (!line.isConnected) place.append(line);
    setText(line, text);
  };
  region();
  if (news) (shared.common().news ??= new Map()).set(el, news);
  return {
    /** Says `words()` after a rest, as they are then: what was chosen may be answered meanwhile. */
    say(words, { slot = "chosen", rest = REST_MS } = {}) {
      clearTimeout(timers.get(slot));
      timers.set(slot, setTimeout(() => put(slot, words()), rest));
    },
    close() {
      timers.forEach((timer) => clearTimeout(timer));
      own?.remove();
      const common = shared.common();
      common.news?.delete(el);
      if (common.voice === own) delete common.voice;
    },
  };
}
