import { element } from "./dom.js";

// What the colour of a lens cell means. `share` is 0 to 1; `text` replaces the word where a number says more.

const NATS_SHOWN = 20;

const top = (data, cell) => data.top_probs.data[cell * data.k] / 65535;
const pinned = (array, data, cell, token) => array.data[cell * data.tokens.length + token];

export const LENS_COLOURS = {
  faded: {
    name: "probability, faded by KL to final",
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
  token_probability: {
    name: "pinned word: probability",
    needsToken: true,
    share: (data, cell, token) => (token < 0 ? 0 : Math.exp(pinned(data.token_log_probs, data, cell, token))),
    text: (data, cell, token) => (token < 0 ? "" : shortProbability(Math.exp(pinned(data.token_log_probs, data, cell, token)))),
    ends: () => ["0", "1"],
  },
  token_rank: {
    name: "pinned word: rank",
    needsToken: true,
    share: (data, cell, token) => (token < 0 ? 0 : 1 - Math.log1p(pinned(data.token_ranks, data, cell, token)) / Math.log(data.d_vocab)),
    text: (data, cell, token) => (token < 0 ? "" : shortCount(pinned(data.token_ranks, data, cell, token))),
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

/** The legend: low end, ramp, high end, and which word is pinned. */
export function lensLegend(mode, data, palette, token) {
  const [low, high] = mode.ends(data);
  const gradient = `linear-gradient(to right, ${[0, 51, 102, 153, 204, 255].map((index) => palette.fills[index]).join(",")})`;
  const needs = mode.needsToken && !data.tokens.includes(token) ? element("span", { class: "lw-hint" }, "pin a word first") : null;
  return [needs, element("span", {}, low), element("span", { class: "lw-ramp", style: `background:${gradient}` }), element("span", {}, high)].filter(Boolean);
}
