// What is said of neurons and experts, and in which colours.

import { shade } from "./colour.js";

/** A neuron's name: its number; with experts, that of the expert and its number within it. */
export function neuronTitle({ n_experts, n_neurons }, neuron) {
  return n_experts ? `${Math.floor(neuron / n_neurons)} · ${neuron % n_neurons}` : String(neuron);
}

/** The experts that a position goes through, with the router's weights where there is room. */
export function expertWords({ experts, router_weights: weights }, position, long = false) {
  if (!experts) return "";
  const chosen = experts[position];
  return chosen.map((expert, place) => (long ? `${expert} (× ${weights.data[position * chosen.length + place].toFixed(3)})` : expert)).join(long ? ", " : " ");
}

/** Fill and ink of values with a sign, the largest one at the end of its ramp; what is no number has none. */
export function cellColours(values, { above, below }) {
  const largest = values.reduce((most, value) => (Math.abs(value) > most ? Math.abs(value) : most), 1e-30);
  return Array.from(values, (value) => {
    const half = value < 0 ? below : above;
    const tint = shade(Math.abs(value) / largest);
    return Number.isNaN(value) ? { fill: "", ink: "" } : { fill: half.fills[tint], ink: half.inks[tint] };
  });
}
