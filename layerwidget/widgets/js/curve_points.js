// Curves that are gone along by key: from value to value, and from curve to curve.

/** "FFN 0.250", of a curve without a name only the value. */
export function pointText({ name }, { said }) {
  return name ? `${name} ${said}` : said;
}

/** What all curves say of a layer. */
export function valuesOfLayer(curves, layer) {
  return curves.flatMap((curve) => curve.points.filter((point) => point.layer === layer).map((point) => pointText(curve, point))).join(" · ");
}

/** The place of the point that is nearest to a layer. */
function nearest(points, layer) {
  return points.reduce((best, point, place) => (Math.abs(point.layer - layer) < Math.abs(points[best].layer - layer) ? place : best), 0);
}

/** The point of a curve that is nearest to a layer; of the last curve where there are fewer now; null without any. */
export function pointNear(curves, { curve, layer }) {
  if (!curves.length) return null;
  const which = Math.min(curve, curves.length - 1);
  return { curve: which, layer: curves[which].points[nearest(curves[which].points, layer)].layer };
}

/** Where an arrow key, Home or End leads from a point `{curve, layer}`: along its curve, or to another; null for other keys. */
export function movedPoint(key, { curve, layer }, curves) {
  const { points } = curves[curve];
  const along = (place) => ({ curve, layer: points[Math.min(points.length - 1, Math.max(0, place))].layer });
  const over = (which) => pointNear(curves, { curve: Math.min(curves.length - 1, Math.max(0, which)), layer });
  const place = nearest(points, layer);
  const moves = {
    ArrowLeft: () => along(place - 1), ArrowRight: () => along(place + 1), Home: () => along(0), End: () => along(points.length - 1),
    ArrowUp: () => over(curve - 1), ArrowDown: () => over(curve + 1),
  };
  return moves[key]?.() ?? null;
}

/** The curves of a table as Python sends it, last layer on top, each with the points that have a value. */
export function curvesOfTable({ columns = [], rows = [], heights = [] } = {}) {
  const point = (curve) => ([layer, ...said], row) => ({ layer: Number(layer), said: said[curve], height: heights[row][curve] });
  const curves = columns.map((name, curve) => ({ name, points: rows.map(point(curve)).filter(({ height }) => height !== null).reverse() }));
  return curves.filter(({ points }) => points.length);
}
