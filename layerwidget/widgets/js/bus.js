// Views that share a `group` share one selection in the browser, without a message to the kernel.

const groups = (globalThis.layerwidgetGroups ??= new Map());

/** For this long after a local change, what the kernel says of the same name may be an echo of an older one. */
const ECHO_MS = 250;

function groupOf(name) {
  if (!groups.has(name)) groups.set(name, { values: new Map(), changedAt: new Map(), listeners: new Set(), common: {} });
  return groups.get(name);
}

/** A group ends with its last listener. */
function forget(name) {
  if (groups.get(name)?.listeners.size === 0) groups.delete(name);
}

/**
 * The shared state of one widget's group.
 *
 * Values live in the group, not in the widget's model: a model that was only told would send what it heard back to
 * the kernel with its next save. Only the widget that was touched saves; the kernel then brings the others in step.
 * The traits of `own` are read and set the same way, but no other widget hears of them: a group may have two of a kind.
 */
export function shareTraits(model, names, own = []) {
  let joined = model.get("group");
  let group = groupOf(joined);
  let saving = 0;
  const echoes = new Map();
  const handlers = new Set();
  const hear = (name, value, byKernel) => {
    for (const handler of [...handlers]) if (handler(name, value, byKernel) === true) return true;
    return false;
  };
  const put = (name, value, byKernel = false) => {
    if (sameValue(group.values.get(name), value)) return;
    group.values.set(name, value);
    for (const listener of [...group.listeners]) listener(name, value, byKernel);
  };
  const fromKernel = (name) => {
    clearTimeout(echoes.get(name));
    const wait = (group.changedAt.get(name) ?? -Infinity) + ECHO_MS - performance.now();
    if (wait > 0) echoes.set(name, setTimeout(() => fromKernel(name), wait));
    else put(name, model.get(name), true);
  };
  const watched = [
    ...names.map((name) => [`change:${name}`, () => fromKernel(name)]),
    ...own.map((name) => [`change:${name}`, () => hear(name, model.get(name))]),
  ];
  for (const [event, handler] of watched) model.on(event, handler);
  const join = () => {
    group.listeners.delete(hear);
    const left = joined;
    joined = model.get("group");
    group = groupOf(joined);
    group.listeners.add(hear);
    names.forEach(fromKernel);
    if (left !== joined) forget(left);
  };
  model.on("change:group", join);
  join();
  return {
    get: (name) => (group.values.has(name) && !own.includes(name) ? group.values.get(name) : model.get(name)),
    /** Change shared values; `live` ones stay in the browser until they settle. */
    set(changes, { live = false } = {}) {
      for (const [name, value] of Object.entries(changes)) {
        if (own.includes(name)) {
          model.set(name, value);
          continue;
        }
        group.changedAt.set(name, performance.now());
        put(name, value);
        if (!live) model.set(name, value);
      }
      if (live) return;
      // A live change must not take back a save that is on its way.
      clearTimeout(saving);
      saving = setTimeout(() => model.save_changes(), 0);
    },
    /** Tell the group something that is nobody's trait. */
    tell: (name, value) => put(name, value),
    /** Tell the group that something happened, until one of it has taken care of it. */
    signal(name, value) {
      for (const handler of [...group.listeners]) if (handler(name, value)) return;
    },
    /** What the whole group has one of. */
    common: () => group.common,
    /** `handler` hears of each change: its name, the value, and whether it is the kernel's, not somebody's here. */
    listen(handler) {
      handlers.add(handler);
      return () => handlers.delete(handler);
    },
    close() {
      group.listeners.delete(hear);
      forget(joined);
      handlers.clear();
      echoes.forEach((timer) => clearTimeout(timer));
      model.off("change:group", join);
      for (const [event, handler] of watched) model.off(event, handler);
    },
  };
}

export function sameValue(a, b) {
  return a === b || JSON.stringify(a) === JSON.stringify(b);
}
