// The blocks of a page: gzip in 85 letters; inside, the length of a JSON text, that text, and arrays behind it.

import { levelsInOrder, rootsAndSteps } from "./recorded_levels.js";

const LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;.=>?@^_`{|}~";
const WIDTHS = { uint8: 1, uint16: 2, int32: 4, uint32: 4, float32: 4 };

/** The bytes of a text in 85 letters: five for each four of them, fewer at the end. */
export function decoded85(text) {
  const values = new Uint8Array(128);
  [...LETTERS].forEach((letter, value) => { values[letter.charCodeAt(0)] = value; });
  const bytes = new Uint8Array(Math.floor((text.length * 4) / 5));
  for (let from = 0, to = 0; from < text.length; from += 5, to += 4) {
    let number = 0;
    for (let place = from; place < from + 5; place += 1) number = number * 85 + (place < text.length ? values[text.charCodeAt(place)] : 84);
    for (let place = to + 3; place >= to; place -= 1) {
      if (place < bytes.length) bytes[place] = number % 256;
      number = Math.floor(number / 256);
    }
  }
  return bytes;
}

/** Numbers of which the first bytes came first, then the second ones, ... */
export function gatheredBytes(planes, width) {
  const count = planes.length / width;
  const bytes = new Uint8Array(planes.length);
  for (let plane = 0; plane < width; plane += 1) {
    for (let place = 0; place < count; place += 1) bytes[place * width + plane] = planes[plane * count + place];
  }
  return bytes;
}

/** Thousandths as the 65535ths that views read. */
function sharesOf(thousandths) {
  return new Uint8Array(Uint16Array.from(new Uint16Array(thousandths.buffer), (one) => Math.round(one * 65.535)).buffer);
}

/** The buffers of a message as a kernel would send them; roots and steps of a gallery come out of its levels. */
function buffersIn({ content, buffers, levels }, arrays) {
  const at = ([start, length]) => arrays.subarray(start, start + length);
  const made = levels ? rootsAndSteps(levelsInOrder(at(levels.place), levels)) : {};
  return content.arrays.map(({ name, dtype, thousandths }, index) => {
    const bytes = buffers[index] ? gatheredBytes(at(buffers[index]), WIDTHS[dtype]) : made[name];
    return new DataView((thousandths ? sharesOf(bytes) : bytes).buffer);
  });
}

/** The JSON of a block; the places of arrays in it have become the arrays. */
export async function unpackRecording(block) {
  const stream = new Blob([decoded85(block)]).stream().pipeThrough(new DecompressionStream("gzip"));
  const whole = await new Response(stream).arrayBuffer();
  const size = new DataView(whole).getUint32(0, true);
  const recorded = JSON.parse(new TextDecoder().decode(new Uint8Array(whole, 4, size)));
  const arrays = new Uint8Array(whole, 4 + size);
  for (const view of Object.values(recorded.views ?? {})) {
    for (const message of view.messages ?? []) message.buffers = buffersIn(message, arrays);
  }
  return recorded;
}
