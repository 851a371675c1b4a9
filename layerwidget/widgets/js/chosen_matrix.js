// The matrix beside the gallery: as the kernel has sent it, or as near as the gallery's colours come to it.

import { blend, colouredMatrix, exactMatrix } from "./patterns.js";

/** What "≈" means on a page that nobody answers: exact are the matrix of `focusKey` ("layer.head", "how.layers"), and `everyHead` or not. */
export function approximateNote(focusKey, everyHead = false) {
  const [how, which] = (focusKey ?? "").split(".");
  const blend = which === "all" ? `the ${how} of all layers` : `the ${how} of layers ${which}`;
  const one = !which ? "" : /^\d+$/.test(how) ? `layer ${how} head ${which}` : blend;
  const exact = [everyHead ? "single heads" : "", one].filter(Boolean).join(" and ");
  return `≈: read from the gallery's colours${exact && `; exact for ${exact} only`}`;
}

/** The chosen matrix as the kernel has sent it: its numbers, or of a long prompt its colours. */
function sentMatrix(data, stack) {
  const { n_pos: size, n_keys: keys, causal, focus: { data: sent }, focus_block: block } = data;
  if (!block) return { size, keys, causal, limit: stack.limit, weights: sent, exact: true, block: 1 };
  return colouredMatrix({ size: Math.ceil(size / block), keys: Math.ceil(keys / block), causal }, sent, block, data.unit ? data.focus_limit : 0);
}

/**
 * The kernel hears of every choice and sends its matrix; until it is here, the gallery's colours stand in. A recorded
 * page has the numbers of all heads of a prompt that is not too long.
 */
function standIn({ data, stack }, how, matrices) {
  if (!matrices.length) return null;
  if (data.steps && how === "head") return { ...exactMatrix(stack, data.steps.data, matrices[0]), block: 1 };
  return { ...blend(stack, matrices, how), block: data.block };
}

/** What is said where the browser has only the colours of the matrix, `count` tokens to a cell. */
export function roughFact(count) {
  return `${count > 1 ? `${count} × ${count} a cell, ` : ""}numbers where you point`;
}

/** The matrix on the right: one head, or the mean or maximum of the layers in view; null where none of it is held. */
export function makeChooser(shared) {
  let kept = { key: "" };
  const chosen = ({ data, wanted, held }, how) => {
    const [layers, heads] = how === "head" ? [[shared.get("layer")], [shared.get("head")]] : [wanted, data.heads];
    const columns = heads.map((head) => data.heads.indexOf(head)).filter((column) => column >= 0);
    return layers.filter((layer) => held.has(layer)).flatMap((layer) => columns.map((column) => held.get(layer) * data.heads.length + column));
  };
  return (made) => {
    const { data, stack } = made;
    const how = shared.get("show_heads");
    const focus = how === "head" ? `${shared.get("layer")}.${shared.get("head")}` : `${how}.${shared.get("layers")}`;
    const sent = data.focus_key === focus ? data.focus : null;
    const key = `${data.revision}|${focus}`;
    if (kept.key === key && kept.sent === sent) return kept.matrix;
    kept = { key, sent, matrix: sent ? sentMatrix(data, stack) : standIn(made, how, chosen(made, how)) };
    return kept.matrix;
  };
}
