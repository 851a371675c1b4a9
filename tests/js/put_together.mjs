// Reads messages of a kernel, one in a line, and writes what the store of a view holds after each.

import { createInterface } from "node:readline";
import { openStore } from "../../layerwidget/widgets/js/store.js";

const asked = [];
let receive = null;
const store = openStore({ on: (_, heard) => { receive = heard; }, off: () => {}, send: (what) => asked.push(what) });
asked.length = 0;

/** Arrays as base64 of their bytes, everything else as it is. */
const plain = (value) => (value?.data instanceof Object && ArrayBuffer.isView(value.data)
  ? { shape: value.shape, kind: value.data.constructor.name, bytes: Buffer.from(value.data.buffer).toString("base64") } : value);

for await (const line of createInterface({ input: process.stdin })) {
  receive(JSON.parse(line), []);
  const held = Object.fromEntries(Object.entries(store.data ?? {}).map(([name, value]) => [name, plain(value)]));
  process.stdout.write(`${JSON.stringify({ held, asked: asked.splice(0) })}\n`);
}
