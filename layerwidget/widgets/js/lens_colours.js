// What the colour of a lens cell means. `share` is 0 to 1. Of a pinned word, `known` is its number, or null where there
// is none, from which `share` is taken, and `text` stands in the place of the cell's own word. `array` is what not every
// answer has: a kernel is asked for it.

import { element } from "./dom.js";
import { pinnedWord } from "./pinned_words.js";

const NATS_SHOWN = 20;

const top = (data, cell) => data.top_probs.data[cell * data.k] / 65535;

export const LENS_COLOURS = {
  faded: {
    name: "probability, faded by KL",
    share: (data, cell) => top(data, cell) * Math.exp(-data.kl_to_final_nats.data[cell]),
    ends: () => ["0", "1"],
  },
  agreement: {
    name: "probability of the final word",
    share: (data, cell) => data.final_probs.data[cell],
    ends: () => ["0", "1"],
  },
  probability: { name: "probability of the word", share: top, ends: () => ["0", "1"] },
  entropy: {
    name: "entropy",
    share: (data, cell) => data.entropy_nats.data[cell] / data.max_entropy_nats,
    ends: (data) => ["0", `${data.max_entropy_nats.toFixed(1)} nats`],
  },
  kl: {
    name: "KL to final",
    share: (data, cell) => data.kl_to_final_nats.data[cell] / NATS_SHOWN,
    ends: () => ["0", `≥${NATS_SHOWN} nats`],
  },
  jsd: {
    name: "Jensen-Shannon to final",
    array: "jsd_nats",
    share: (data, cell) => (data.jsd_nats ? data.jsd_nats.data[cell] / Math.LN2 : 0),
    ends: () => ["0", "ln 2 = 0.69 nats"],
  },
  token_probability: {
    name: "probability of the pinned word",
    needsToken: true,
    known: (data, cell, token) => pinnedWord(data, cell, token)?.probability ?? null,
    share: (data, probability) => probability,
    text: shortProbability,
    ends: () => ["0", "1"],
  },
  token_rank: {
    name: "rank of the pinned word",
    needsToken: true,
    known: (data, cell, token) => pinnedWord(data, cell, token)?.rank ?? null,
    share: (data, rank) => 1 - Math.log1p(rank) / Math.log(data.d_vocab),
    text: shortCount,
    ends: (data) => [shortCount(data.d_vocab), "rank 0"],
  },
};

/** Three significant places in few letters: 0.971 -> ".971", 0.0004 -> "<.001". */
export function shortProbability(value) {
  if (value >= 0.9995) return "1";
  return value < 0.0005 ? "0" : value.toFixed(3).slice(1);
}

/** 49152 -> "49k". */
export function shortCount(value) {
  return value < 10000 ? String(value) : `${Math.round(value / 1000)}k`;
}

/** Why nothing is known that a colour stands for; empty where it is. */
function missingWords(mode, data, token, recorded) {
  if (mode.array && !data[mode.array]) {
    if (recorded) return "· not recorded";
    return data.prompt === null ? "· not asked for" : "…";
  }
  if (!mode.needsToken || data.tokens.includes(token)) return "";
  return recorded && token !== null ? "· not recorded" : "pin a word first";
}

/** The legend: low end, ramp, high end, and what is not there: a word to follow, or all that would be known of it. */
export function lensLegend(mode, data, palette, token, recorded = false) {
  const [low, high] = mode.ends(data);
  const gradient = `linear-gradient(to right, ${[0, 51, 102, 153, 204, 255].map((index) => palette.fills[index]).join(",")})`;
  const missing = missingWords(mode, data, token, recorded);
  const needs = missing ? element("span", { class: "lw-hint" }, missing) : null;
  return [needs, element("span", {}, low), element("span", { class: "lw-ramp", style: `background:${gradient}` }), element("span", {}, high)].filter(Boolean);
}
