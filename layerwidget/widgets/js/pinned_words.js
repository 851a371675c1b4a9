// What is known of a pinned word in a cell: all, where it was asked for; else what the cell and its column hold anyway.

const names = new WeakMap();

/** What a word looks like, by its token id. */
export function wordName(data, id) {
  if (!names.has(data.pieces)) names.set(data.pieces, new Map(data.pieces.map((piece) => [piece.id, piece.visible])));
  const place = data.tokens.indexOf(id);
  return place < 0 ? names.get(data.pieces).get(id) ?? `#${id}` : data.token_visible[place];
}

/** Among the model's own next words at a position, all layers of which are recorded, the place of one; -1 for others. */
export function followedPlace(ids, position, id) {
  const count = ids.shape[1];
  return ids.data.subarray(position * count, (position + 1) * count).indexOf(id);
}

/** `{probability, rank}` of a word in a cell; rank is null where the cell only lists the word, all is null elsewhere. */
export function pinnedWord(data, cell, id) {
  const asked = data.tokens.indexOf(id);
  if (asked >= 0) {
    const at = cell * data.tokens.length + asked;
    return { probability: Math.exp(data.token_log_probs.data[at]), rank: data.token_ranks.data[at] };
  }
  if (!data.followed_ids) return null;
  const place = followedPlace(data.followed_ids, cell % data.n_pos, id);
  if (place >= 0) {
    const at = cell * data.followed_ids.shape[1] + place;
    return { probability: data.followed_probs.data[at] / 65535, rank: data.followed_ranks.data[at] };
  }
  const listed = listedPlace(data, cell, id);
  return listed < 0 ? null : { probability: data.top_probs.data[cell * data.k + listed] / 65535, rank: null };
}

/** The place of a word in the list of a cell; -1 where it is not in it. Equal ones share a rank, so it is none. */
function listedPlace({ pieces, top_ids: { data }, k }, cell, id) {
  for (let place = 0; place < k; place += 1) if (pieces[data[cell * k + place]].id === id) return place;
  return -1;
}

/** What a row of the panel says of a pinned word. */
export function pinnedText(word, waiting) {
  if (!word) return waiting;
  return `${word.probability.toFixed(3)} · rank ${word.rank ?? "?"}`;
}
