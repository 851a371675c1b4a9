// The blocks of a page: gzip in base64; inside, the length of a JSON text, that text, and arrays behind it.

/** The JSON of a block; the places of arrays in it have become the arrays. */
export async function unpackRecording(block) {
  const packed = Uint8Array.from(atob(block), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const whole = await new Response(stream).arrayBuffer();
  const size = new DataView(whole).getUint32(0, true);
  const recorded = JSON.parse(new TextDecoder().decode(new Uint8Array(whole, 4, size)));
  for (const view of Object.values(recorded.views ?? {})) {
    for (const message of view.messages ?? []) {
      message.buffers = message.buffers.map(([start, length]) => new DataView(whole, 4 + size + start, length));
    }
  }
  return recorded;
}
