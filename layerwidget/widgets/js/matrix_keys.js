// Pointer and keys of an attention matrix: keys choose and point at what the pointer can.

const QUERY_STEPS = { ArrowUp: -1, ArrowDown: 1, PageUp: -1e6, PageDown: 1e6 };
const POINT_STEPS = { ArrowLeft: -1, ArrowRight: 1, Home: -1e6, End: 1e6 };

/**
 * Where a key leads from `{query, key, queries, keys}`: `{query}` to choose it, `{key}` to point at it, null for others.
 *
 * `keys` is how many keys the query has, `key` the one that is pointed at or stands out.
 */
export function movedPointer(pressed, { query, key, queries, keys }) {
  const within = (place, count) => Math.min(count - 1, Math.max(0, place));
  if (pressed in QUERY_STEPS) return { query: within(query + QUERY_STEPS[pressed], queries) };
  if (pressed in POINT_STEPS) return { key: within(key + POINT_STEPS[pressed], keys) };
  return null;
}

/**
 * Listens to the pointer of `node`, and to its keys: up and down choose the query, left and right point at its keys,
 * Escape at none.
 *
 * `draw` is the view's, made by `onFrame`. `at(event)` gives what is under the pointer, or null, and `click` is told of
 * it; `place()` gives what `movedPointer` takes, or null; `moved` hears of every key; `follow`, of Enter on a key.
 */
export function followMatrix(node, { at: under, place, draw, choose, click = ({ query }) => choose(query), point, moved, follow = null }) {
  node.addEventListener("pointermove", (event) => point(under(event)));
  node.addEventListener("pointerleave", () => point(null));
  node.addEventListener("click", (event) => {
    const found = under(event);
    if (found) click(found);
  });
  node.addEventListener("keydown", (event) => {
    // A key that comes before the next frame starts from where the last one led.
    draw.now();
    const at = place();
    const to = at && movedPointer(event.key, at);
    const leaves = event.key === "Escape" || (event.key === "Enter" && follow);
    if (!at || (!to && !leaves)) return;
    event.preventDefault();
    event.stopPropagation();
    if (to?.query !== undefined) choose(to.query);
    point(to?.key === undefined ? null : { query: at.query, key: to.key });
    if (event.key === "Enter") follow(at.key);
    moved();
  });
  node.addEventListener("blur", () => point(null));
}

/** The place of the largest number; the first one where there are several. */
export function strongest(weights) {
  let best = 0;
  for (let key = 1; key < weights.length; key += 1) if (weights[key] > weights[best]) best = key;
  return best;
}
