// The numbers of a recorded gallery, as `export/levels.py` has packed them: one level for each weight, sorted by the
// group of the level above it.

/** Levels below this one are roots of what is 0.000; level `FIRST - 1 + n` stands for n thousandths. */
const FIRST = 6;
const NOTHING_ABOVE = 16;

const WEIGHTS = Float32Array.from({ length: 256 }, (_, root) => (root / 255) ** 2);

/** The group of what stands below each level. */
const GROUPS = Uint8Array.from({ length: FIRST + 1000 }, (_, level) => (level < FIRST ? level : FIRST + Math.floor(Math.log2(level - (FIRST - 1)))));

/** The levels of each group, one group after the other. */
function sortedLevels(bytes, total) {
  const levels = Uint16Array.from(bytes.subarray(0, total));
  const beyond = (bytes.length - total) / 2;
  let next = total;
  for (let place = 0; place < total; place += 1) {
    if (levels[place] < 255) continue;
    levels[place] += bytes[next] + 256 * bytes[next + beyond];
    next += 1;
  }
  return levels;
}

/** The levels in their order: the first row of every matrix, then the second of every matrix, ... */
export function levelsInOrder(bytes, { counts, size, keys, causal, count }) {
  const next = counts.map((_, group) => counts.slice(0, group).reduce((sum, one) => sum + one, 0));
  const total = counts.reduce((sum, one) => sum + one, 0);
  const sorted = sortedLevels(bytes, total);
  const levels = new Uint16Array(total);
  let place = 0;
  let above = 0;
  for (let query = 0; query < size; query += 1) {
    const length = causal ? query + 1 : keys;
    const known = query === 0 ? 0 : causal ? query : keys;
    for (let matrix = 0; matrix < count; matrix += 1) {
      for (let key = 0; key < length; key += 1) {
        const group = key < known ? GROUPS[levels[above + matrix * known + key]] : NOTHING_ABOVE;
        levels[place + matrix * length + key] = sorted[next[group]];
        next[group] += 1;
      }
    }
    above = place;
    place += length * count;
  }
  return levels;
}

/** What the views read: the places of their colours, and the steps from there to the thousandths. */
export function rootsAndSteps(levels) {
  const roots = Uint8Array.from(levels, (level) => (level < FIRST ? level : Math.round(Math.sqrt((level - (FIRST - 1)) / 1000) * 255)));
  const steps = Uint8Array.from(levels, (level, place) => {
    const thousandths = Math.max(0, level - (FIRST - 1));
    return thousandths ? 128 + thousandths - Math.floor(WEIGHTS[roots[place]] * 1000 + 0.5) : 128;
  });
  return { roots, steps };
}
