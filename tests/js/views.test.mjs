// The functions that draw from, with node: one source of each, tested where it lives.

import assert from "node:assert/strict";
import test from "node:test";

import { arcLines, whyNoLines } from "../../layerwidget/widgets/js/arc_lines.js";
import { ledgerRows, signedBar } from "../../layerwidget/widgets/js/attribution_panel.js";
import { shareTraits } from "../../layerwidget/widgets/js/bus.js";
import { luminance, makeRamp, shade, signedRamps, typeSize } from "../../layerwidget/widgets/js/colour.js";
import { chosenSheet, exactValue, heatEnds, heatShare, paintHeat, shortValue } from "../../layerwidget/widgets/js/heat_cells.js";
import { cellText } from "../../layerwidget/widgets/js/heat_grid.js";
import { pathParts } from "../../layerwidget/widgets/js/layer_flow.js";
import { columnWidth, makeLayerGrid, movedCell } from "../../layerwidget/widgets/js/layer_grid.js";
import { movedRange } from "../../layerwidget/widgets/js/layer_slider.js";
import { stackRowHeight } from "../../layerwidget/widgets/js/layer_stack.js";
import { pinnedText, pinnedWord, wordName } from "../../layerwidget/widgets/js/pinned_words.js";
import { heightOf, linePieces, pinnedCurves, sheetCurves } from "../../layerwidget/widgets/js/recorded_lines.js";
import { decoded85, gatheredBytes } from "../../layerwidget/widgets/js/recording.js";
import { LENS_COLOURS, shortCount, shortProbability } from "../../layerwidget/widgets/js/lens_colours.js";
import { firstWords, paintWords } from "../../layerwidget/widgets/js/lens_grid.js";
import {
  bandEnds, columnShares, costLines, costs, extendedRange, layerKinds, longAmount, measured, parameterShares,
  rangeText, shortAmount, stepGroups, weightLines,
} from "../../layerwidget/widgets/js/map_words.js";
import { inSight, singleKey } from "../../layerwidget/widgets/js/head_gallery.js";
import { lossFrame, lossSummary, lossText, meanOf, withoutLoss } from "../../layerwidget/widgets/js/loss_bars.js";
import { movedKeys, pairText, pairWord } from "../../layerwidget/widgets/js/head_compare_view.js";
import { differenceOf, pairPixels } from "../../layerwidget/widgets/js/matrix_row.js";
import { exactPair, makeExactRows, roughNote } from "../../layerwidget/widgets/js/exact_rows.js";
import { cellNumbers, labelType, labelled } from "../../layerwidget/widgets/js/pattern_matrix.js";
import { blend, colouredMatrix, exactMatrix, galleryPixels, largestShown, matrixPixels, rowShares, rowWeights, sameRows, drawnShares } from "../../layerwidget/widgets/js/patterns.js";
import { layerRuns } from "../../layerwidget/widgets/js/recorded_figure.js";
import { commonStart, promptHeight } from "../../layerwidget/widgets/js/prompt_editor.js";
import { recordedModel } from "../../layerwidget/widgets/js/recorded_model.js";
import { movedAway, placeWords } from "../../layerwidget/widgets/js/recorded_page.js";
import { writtenValue } from "../../layerwidget/widgets/js/recorded_points.js";
import { rolloutNote, rolloutText } from "../../layerwidget/widgets/js/rollout_view.js";
import { layerNumbers, layersTitle, rowHeight } from "../../layerwidget/widgets/js/rows.js";
import { cellColours, expertWords, neuronTitle } from "../../layerwidget/widgets/js/neuron_words.js";
import { steppedLayer, steppedScene, sceneKey } from "../../layerwidget/widgets/js/scene_bar.js";
import { cellWord, clipped, pointIn, sizedContext, watchLook } from "../../layerwidget/widgets/js/dom.js";
import { curveFrame, layerMark, settledBy, settleLevel, sharesText } from "../../layerwidget/widgets/js/settle_cells.js";
import { layerText, settleText } from "../../layerwidget/widgets/js/settle_strip.js";
import { largestPlace, sourceEnds, sourceWidth } from "../../layerwidget/widgets/js/source_bars.js";
import { decodedBuffers, isStale, isText, openStore, unpackArrays } from "../../layerwidget/widgets/js/store.js";
import { movedPage, toggled } from "../../layerwidget/widgets/js/tab_bar.js";

/** A widget model as the bus knows it. */
function fakeModel(state) {
  const handlers = new Map();
  return {
    saves: 0,
    get: (name) => state[name],
    set(name, value) {
      if (state[name] === value) return;
      state[name] = value;
      for (const handler of handlers.get(`change:${name}`) ?? []) handler();
    },
    save_changes() { this.saves += 1; },
    on: (event, handler) => handlers.set(event, [...(handlers.get(event) ?? []), handler]),
    off: (event, handler) => handlers.set(event, (handlers.get(event) ?? []).filter((other) => other !== handler)),
  };
}

const tick = (ms = 1) => new Promise((resolve) => { setTimeout(resolve, ms); });

test("a live change reaches the group and no kernel; only the touched widget saves", async () => {
  const [a, b] = [fakeModel({ group: "g1", layers: "0-2" }), fakeModel({ group: "g1", layers: "0-2" })];
  const [mine, theirs] = [shareTraits(a, ["layers"]), shareTraits(b, ["layers"])];
  const heard = [];
  theirs.listen((name, value) => heard.push([name, value]));
  mine.set({ layers: "1-2" }, { live: true });
  await tick();
  assert.deepEqual(heard, [["layers", "1-2"]]);
  assert.equal(theirs.get("layers"), "1-2");
  assert.deepEqual([a.saves, b.saves, a.get("layers")], [0, 0, "0-2"]);
  mine.set({ layers: "1-2" });
  await tick();
  assert.deepEqual([a.saves, b.saves, a.get("layers"), b.get("layers")], [1, 0, "1-2", "0-2"]);
});

test("an echo of an older value does not move the group back; the kernel's last word counts", async () => {
  const [a, b] = [fakeModel({ group: "g2", position: 1 }), fakeModel({ group: "g2", position: 1 })];
  const [mine, theirs] = [shareTraits(a, ["position"]), shareTraits(b, ["position"])];
  mine.set({ position: 2 });
  mine.set({ position: 3 });
  b.set("position", 2);
  assert.equal(theirs.get("position"), 3);
  b.set("position", 3);
  await tick(300);
  assert.equal(mine.get("position"), 3);
  b.set("position", 9);
  assert.equal(mine.get("position"), 9);
});

test("a closed widget hears and says nothing more", () => {
  const [a, b] = [fakeModel({ group: "g3", layer: 1 }), fakeModel({ group: "g3", layer: 1 })];
  const [mine, theirs] = [shareTraits(a, ["layer"]), shareTraits(b, ["layer"])];
  const heard = [];
  theirs.listen((name) => heard.push(name));
  theirs.close();
  mine.set({ layer: 2 }, { live: true });
  b.set("layer", 7);
  assert.deepEqual(heard, []);
  assert.equal(mine.get("layer"), 2);
});

test("what is a widget's own stays its own, in a group with another of its kind", async () => {
  const [a, b] = [fakeModel({ group: "g9", layer: 1, sheet: "x" }), fakeModel({ group: "g9", layer: 1, sheet: "y" })];
  const [mine, theirs] = [shareTraits(a, ["layer"], ["sheet"]), shareTraits(b, ["layer"], ["sheet"])];
  const [heard, others] = [[], []];
  mine.listen((name, value) => { heard.push([name, value]); });
  theirs.listen((name, value) => { others.push([name, value]); });
  mine.set({ layer: 2, sheet: "z" });
  await tick();
  assert.deepEqual(heard, [["layer", 2], ["sheet", "z"]]);
  assert.deepEqual(others, [["layer", 2]]);
  assert.deepEqual([mine.get("sheet"), theirs.get("sheet"), a.get("sheet"), b.get("sheet")], ["z", "y", "z", "y"]);
  assert.deepEqual([a.saves, b.saves], [1, 0]);
  mine.close();
  theirs.close();
});

test("ranges move by an end or as a whole and stop at the bounds", () => {
  assert.deepEqual(movedRange([18, 29], "first", -6, 0, 29), [12, 29]);
  assert.deepEqual(movedRange([18, 29], "first", 40, 0, 29), [29, 29]);
  assert.deepEqual(movedRange([18, 29], "last", -40, 0, 29), [18, 18]);
  assert.deepEqual(movedRange([18, 20], "middle", 40, 0, 29), [27, 29]);
  assert.deepEqual(movedRange([18, 20], "middle", -40, 0, 29), [0, 2]);
});

test("layer selections", () => {
  assert.deepEqual(layerNumbers("3-5,9"), [3, 4, 5, 9]);
  assert.equal(layersTitle([18, 19, 20]), "layers 18–20");
  assert.equal(layersTitle([7]), "layer 7");
  assert.equal(layersTitle([0, 2, 4]), "3 of the layers 0–4");
  assert.ok(rowHeight(30) * 30 <= 421);
  assert.equal(rowHeight(500), 14);
});

test("rows are drawn with or without the first key, and weights stay what they are", () => {
  const matrix = { size: 3, causal: true, weights: Float32Array.from([1, 0.75, 0.25, 0.5, 0.125, 0.375]) };
  assert.deepEqual([...rowWeights(matrix, 1)], [0.75, 0.25]);
  assert.deepEqual([...rowWeights({ ...matrix, size: 2, causal: false }, 1)], [0.25, 0.5]);
  assert.deepEqual([...rowShares(matrix, 2, false)], [0.5, 0.125, 0.375]);
  assert.deepEqual([...rowShares(matrix, 0, true)], [0]);
  assert.deepEqual([...rowShares(matrix, 1, true)], [0, 1]);
  assert.deepEqual([...rowShares(matrix, 2, true)], [0, 0.25, 0.75]);
});

/** Two causal matrices of three positions as the kernel packs them: of each query the row of one, then of the other. */
const causalStack = { size: 3, causal: true, count: 2, roots: Uint8Array.from([255, 254, 51, 102, 0, 204, 1, 2, 3, 5, 3, 4]) };
const squareStack = { size: 2, causal: false, count: 2, roots: Uint8Array.from([51, 102, 255, 0, 0, 204, 1, 2]) };
/** A ramp that shows which place of it was taken. */
const places = Array.from({ length: 256 }, (_, place) => [place, 255 - place, 7]);
const reds = (pixels) => [...pixels].filter((_, index) => index % 4 === 0);

test("the rows of a gallery land in their own matrix, and nothing behind the query is drawn", () => {
  const pixels = galleryPixels(causalStack, [0, 1], 0, false, places, 4);
  assert.deepEqual([...pixels.slice(0, 4)], [255, 0, 7, 255]);
  assert.deepEqual(reds(pixels), [255, 0, 0, 0, 254, 0, 0, 0, 51, 102, 0, 0, 0, 204, 0, 0, 1, 2, 3, 0, 5, 3, 4, 0]);
  assert.deepEqual(reds(galleryPixels(causalStack, [1], 1, false, places, 3)), [0, 204, 0, 5, 3, 4]);
  assert.deepEqual(reds(galleryPixels(squareStack, [1, 0], 0, false, places, 2)), [255, 0, 51, 102, 1, 2, 0, 204]);
});

test("without the first key the rest of each row takes the whole scale", () => {
  assert.deepEqual(reds(galleryPixels(causalStack, [1], 0, true, places, 3)), [0, 0, 0, 0, 255, 0, 0, 153, 204]);
  const matrix = { size: 2, causal: true, weights: Float32Array.from([1, 0.75, 0.25]) };
  assert.deepEqual(reds(matrixPixels(matrix, true, places)), [0, 0, 0, 255]);
  assert.deepEqual(reds(matrixPixels(matrix, false, places)), [255, 0, 221, 128]);
});

test("only the rows that an edit has changed are painted again", () => {
  const edited = (place) => ({ ...causalStack, roots: causalStack.roots.map((root, at) => (at === place ? root + 1 : root)) });
  assert.deepEqual([0, 1, 2, 5, 6, 11].map((place) => sameRows(causalStack, edited(place))), [0, 0, 1, 1, 2, 2]);
  assert.equal(sameRows(causalStack, { ...causalStack }), 3);
  const shorter = { ...causalStack, size: 2, roots: causalStack.roots.slice(0, 6) };
  assert.deepEqual([sameRows(shorter, causalStack), sameRows(causalStack, shorter)], [2, 2]);
  assert.equal(sameRows(causalStack, { ...causalStack, count: 1 }), 0);
  assert.equal(sameRows(squareStack, { ...squareStack }), 2);
  assert.equal(sameRows(squareStack, { ...squareStack, size: 1, count: 2 }), 0);
});

test("mean and maximum over the matrices of a gallery", () => {
  const near = (matrix, roots) => matrix.weights.forEach((weight, cell) => assert.ok(Math.abs(weight - roots[cell]) < 1e-6, `${cell}: ${weight}`));
  near(blend(causalStack, [0], "head"), [255, 51, 102, 1, 2, 3].map((root) => (root / 255) ** 2));
  near(blend(causalStack, [0, 1], "max"), [255, 51, 204, 5, 3, 4].map((root) => (root / 255) ** 2));
  near(blend(squareStack, [0, 1], "mean"), [(0.04 + 1) / 2, 0.08, (1 / 255) ** 2 / 2, (0.64 + (2 / 255) ** 2) / 2]);
  assert.deepEqual([blend(squareStack, [0], "head").weights.length, blend(causalStack, [0], "head").exact], [4, false]);
});

const LENGTHS = { size: 2, causal: true, limit: 4, weights: Float32Array.from([3, 2, 1]), exact: true };
const CROSS = { size: 2, keys: 3, causal: false, weights: Float32Array.from([0.2, 0.3, 0.5, 0, 1, 0]), exact: true };

test("lengths are drawn by their limit, and nothing is scaled up where the first key is hidden", () => {
  assert.deepEqual([...rowShares(LENGTHS, 1, false)], [0.5, 0.25]);
  assert.deepEqual([...rowShares(LENGTHS, 1, true)], [0, 0.25]);
  assert.deepEqual([...rowWeights(LENGTHS, 1)], [2, 1]);
  assert.deepEqual([largestShown(LENGTHS, false), largestShown(LENGTHS, true)], [3, 1]);
  const stack = { size: 2, keys: 2, causal: true, count: 1, limit: 4, roots: Uint8Array.from([255, 0, 255]) };
  assert.deepEqual([...blend(stack, [0], "max").weights], [4, 0, 4]);
  assert.equal(blend(stack, [0], "max").limit, 4);
});

test("a matrix need not be square", () => {
  assert.deepEqual([...rowWeights(CROSS, 1)], [0, 1, 0]);
  const ramp = Array.from({ length: 256 }, (_, place) => [place, 0, 0]);
  const pixels = matrixPixels(CROSS, false, ramp);
  assert.equal(pixels.length, 4 * 6);
  assert.deepEqual([pixels[4 * 3], pixels[4 * 4], pixels[4 * 5]], [0, 255, 0]);
  const stack = { size: 2, keys: 3, causal: false, count: 2, roots: Uint8Array.from([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]) };
  const drawn = galleryPixels(stack, [1], 0, false, ramp, 3);
  assert.deepEqual([0, 1, 2, 3, 4, 5].map((place) => drawn[4 * place]), [4, 5, 6, 10, 11, 12]);
  assert.equal(sameRows(stack, { ...stack, keys: 4 }), 0);
  assert.equal(blend(stack, [0, 1], "max").weights.length, 6);
});

test("lines go to the keys that are looked at, the strongest on top; of many tokens there are none", () => {
  const lines = arcLines([0.6, 0.004, 0.1, 0.296]);
  assert.deepEqual(lines.map(({ key }) => key), [2, 3, 0]);
  assert.ok(lines[2].width > lines[1].width);
  assert.deepEqual(arcLines([]), []);
  assert.equal(whyNoLines(40, 12), "");
  assert.match(whyNoLines(12, 41), /these are 41/);
});

test("the line below a rollout names both tokens and the share", () => {
  const matrix = { size: 2, causal: true, weights: Float32Array.from([0, 0.25, 0.75]), exact: true };
  const words = ["a", "b"];
  const data = { layers: [2, 3, 4], note: "" };
  assert.equal(rolloutNote(data, undefined, "0-7"), "Each row sums to 1.");
  assert.equal(rolloutNote({ ...data, note: "left out" }, "2-4", "2-4"), "left out");
  assert.equal(rolloutNote(data, "2-4", "3-4"), "Recorded for layers 2–4: it stays there, while other layers are in view.");
  assert.equal(rolloutText({ matrix, words, position: 1, hover: null }), "most: “b” from “b” 0.750");
  assert.equal(rolloutText({ matrix, words, position: 1, hover: { query: 1, key: 0 } }), "“b” from “a” 0.250");
  assert.equal(rolloutText({ matrix, words, position: 1, hover: { query: 0, key: 1 } }), "“a” from “b” 0.000");
  assert.match(rolloutText({ matrix, words, position: 0, hover: null }), /looks at nothing but/);
});

test("only the tiles in sight are drawn", () => {
  assert.deepEqual(inSight(0, 336, 11.2, 30), [0, 30]);
  assert.deepEqual(inSight(105, 336, 10, 48), [10, 45]);
  assert.deepEqual(inSight(150, 336, 10, 48), [15, 48]);
  assert.deepEqual(inSight(-26, 300, 30, 9), [0, 9]);
});

test("labels leave room for the chosen token", () => {
  assert.deepEqual(labelled(4, 20, 1, []), [0, 1, 2, 3]);
  assert.deepEqual(labelled(9, 4, 1, [4]), [0, 4]);
  assert.ok(labelled(400, 0.7, 1, [399]).includes(399));
  assert.deepEqual(labelled(9, 4, 1, [], 16), [0, 4, 8]);
});

test("no two labels beside thin cells overlap, not even below the first one", () => {
  for (const [count, cell] of [[729, 258 / 729], [100, 2.58], [24, 10.75], [23, 11.2]]) {
    const places = labelled(count, cell, 1, []).map((index) => Math.max(6, (index + 0.5) * cell));
    assert.equal(places[0], Math.max(6, cell / 2));
    for (let place = 1; place < places.length; place += 1) assert.ok(places[place] - places[place - 1] >= 10, `${count} tokens`);
  }
});

test("labels of a matrix stand apart in every preset, and of 21 tokens in a notebook each has its own", () => {
  for (const palette of [{}, { least: 11.8 }]) {
    for (let cell = 2; cell < 40; cell += 0.1) {
      const { size, row, column } = labelType(cell, palette);
      const px = parseFloat(size);
      assert.ok(px >= 10 && px <= 11.8);
      const [rows, columns] = [row, column].map((least) => labelled(60, cell, 1, [], least));
      for (let place = 1; place < rows.length; place += 1) assert.ok((rows[place] - rows[place - 1]) * cell >= px + 1.5, `${cell} px`);
      for (let place = 1; place < columns.length; place += 1) assert.ok((columns[place] - columns[place - 1]) * cell >= px * 1.1, `${cell} px`);
    }
  }
  for (const cell of [258 / 21, 286 / 21, 12, 30]) assert.ok(labelType(cell, {}).row <= cell && labelType(cell, {}).column <= cell, `${cell} px`);
});

test("a word in a cell of a heat grid is as the lens has it, and no value is hatched in a colour of its own", () => {
  const canvas = fakeCanvas();
  const context = canvas.getContext("2d");
  const scene = { values: [0.5, NaN], held: new Map([[3, 0]]), labels: ["a", "b"], sheet: { kind: "plain", limits: [0, 1] }, texts: { words: (cell) => ["␣Rome", "␣"][cell] } };
  const colours = { fills: Array(256).fill("#fff"), inks: Array(256).fill("#000") };
  paintHeat(context, { ...scene, palette: { ...colours, font: "sans", hatch: "#123456" } }, { row: 20, column: 60 }, (each) => [0, 1].forEach((column) => each(3, column, column * 60, 0, 20)));
  assert.deepEqual(canvas.calls.filter(([name]) => name === "fillText").map(([, word]) => word), ["Rome"]);
  assert.equal(context.strokeStyle, "#123456");
});

test("zero is the ground and text is readable on every colour", () => {
  const ramp = makeRamp([255, 255, 255], ["#e3e9ff", "#18266b"]);
  assert.deepEqual(ramp[0], [255, 255, 255]);
  assert.deepEqual(ramp[255], [24, 38, 107]);
  for (const colour of ramp) {
    const light = luminance(colour);
    const contrast = light > 0.179 ? (light + 0.05) / 0.05 : 1.05 / (light + 0.05);
    assert.ok(contrast > 4.5, String(colour));
  }
  assert.deepEqual([shade(-1), shade(Number.NaN), shade(0.5), shade(3)], [0, 0, 128, 255]);
});

test("values with a sign are as light on both sides, and zero is the ground", () => {
  for (const [ground, dark] of [[[255, 255, 255], false], [[17, 17, 17], true]]) {
    const { above, below } = signedRamps(ground, dark);
    assert.deepEqual([above[0], below[0]], [ground, ground]);
    above.forEach((colour, place) => assert.ok(Math.abs(luminance(colour) - luminance(below[place])) < 0.06, `${colour} ${below[place]}`));
    // Blue on one side, and least of all blue on the other: no eye takes one for the other.
    assert.ok(above[255][2] - above[255][0] > 60 && below[255][0] - below[255][2] > 60);
  }
});

test("cells of a heat grid", () => {
  assert.deepEqual([0, 0.971, 0.0123, 12.34, 999.9, 1234, 1e6, -45.6, -0.5, 2e-5].map((value) => shortValue(value, 2)),
    ["0", ".97", ".012", "12", "1k", "1.2k", "1M", "-46", "-.5", "2e-5"]);
  assert.deepEqual([123.4, 567890].map((value) => shortValue(value, 2)), ["123", "568k"]);
  assert.deepEqual([0, 1, -2.7184, 0.05, 12345.678, 3e-8].map(exactValue), ["0.000", "1.000", "-2.718", "0.0500", "12345.68", "3.00e-8"]);
  assert.deepEqual([-4, 0, 2].map((value) => heatShare(value, { kind: "signed", limits: [-4, 4] })), [-1, 0, 0.5]);
  assert.equal(heatShare(2, { kind: "one-sided", limits: [0, 8] }), 0.25);
  assert.deepEqual([1, 10, 0].map((value) => heatShare(value, { kind: "log", limits: [1, 100] })), [0, 0.5, 0]);
  assert.deepEqual(heatEnds({ kind: "one-sided", unit: "nats", limits: [0, 20], clipped: [false, true] }), ["0", "≥20 nats"]);
  assert.deepEqual(heatEnds({ kind: "signed", unit: "", limits: [-3, 3], clipped: [true, false] }), ["≤-3", "3"]);
  assert.deepEqual([chosenSheet([{ name: "a" }, { name: "b" }], "b"), chosenSheet([{ name: "a" }], "gone")], [1, 0]);
});

test("the line below a heat grid names layer, column and value", () => {
  const scene = { sheet: { name: "norm", unit: "" }, values: Float32Array.from([1, 2.5, NaN, 4]), held: new Map([[3, 0], [7, 1]]) };
  const said = (cell, columns) => cellText(cell, { ...scene, labels: columns.labels, data: { columns } });
  const heads = { picks: "head", numbers: [4, 5], labels: ["4", "5"] };
  assert.equal(said({ layer: 3, column: 1 }, heads), "layer 3 · head 5 · norm: 2.500");
  const tokens = { picks: "position", numbers: [0, 1], labels: ["a", "b"] };
  assert.equal(said({ layer: 7, column: 0 }, tokens), "layer 7 · “a” (position 0) · norm: no value");
});

test("keys move a cell and stop at the edges", () => {
  const moved = (key, cell = { layer: 5, column: 1 }) => movedCell(key, cell, [9, 5, 2], 3);
  assert.deepEqual(["ArrowUp", "ArrowDown", "ArrowLeft", "End", "PageUp"].map((key) => moved(key)),
    [{ layer: 9, column: 1 }, { layer: 2, column: 1 }, { layer: 5, column: 0 }, { layer: 5, column: 2 }, { layer: 9, column: 1 }]);
  assert.deepEqual(moved("ArrowRight", { layer: 9, column: 2 }), { layer: 9, column: 2 });
  assert.equal(moved("x"), null);
});

test("cells and numbers are short", () => {
  assert.equal(cellWord("␣Rome"), "Rome");
  assert.equal(cellWord("␣"), "␣");
  assert.equal(cellWord("␣␣"), "␣␣");
  assert.deepEqual([0.9999, 0.971, 0.0001].map(shortProbability), ["1", ".971", "0"]);
  assert.deepEqual([7, 49152].map(shortCount), ["7", "49k"]);
  assert.deepEqual([columnWidth(9, 700), columnWidth(12, 700), columnWidth(400, 700)], [68, 52, 36]);
  // Of few tokens they are wider: one leaves no half of the room empty.
  assert.deepEqual([6, 5, 3, 2, 1].map((count) => columnWidth(count, 700)), [102, 136, 204, 272, 544]);
  // The steps are so close to each other that ten columns or more leave less than a fifth of the room.
  const left = Array.from({ length: 10 }, (_, more) => 1 - ((10 + more) * columnWidth(10 + more, 760)) / 760);
  assert.ok(Math.max(...left) < 0.2 && Math.min(...left) >= 0, left.join());
  // Four letters of the smallest type of a talk need more than the narrowest column.
  assert.deepEqual([columnWidth(9, 700, 11.8), columnWidth(400, 700, 11.8)], [68, 53]);
  // Where they scroll, no room is left over for less than a column; in the narrowest place there is one.
  assert.deepEqual([682, 321, 40, 20, 0].map((room) => columnWidth(400, room)), [37, 40, 40, 36, 36]);
});

test("columns do not jump to and fro while the tokens of a word come and go", () => {
  const room = 760;
  const typed = (counts) => {
    let before = null;
    return counts.map((columns) => {
      const column = columnWidth(columns, room, 0, before);
      before = { column, columns, room };
      return column;
    });
  };
  // 14 columns of 52 px fit, 15 do not.
  assert.deepEqual(typed([14, 15, 14, 15, 14]), [52, 46, 46, 46, 46]);
  // Two fewer have room for one more; another text, or another room, begins anew.
  assert.deepEqual(typed([15, 14, 13, 14]), [46, 46, 52, 52]);
  assert.deepEqual(typed([21, 14]), [36, 52]);
  assert.equal(columnWidth(14, room, 0, { column: 46, columns: 15, room: 700 }), 52);
  assert.equal(columnWidth(1, room, 0, { column: 102, columns: 3, room }), 544);
  // Larger type, which a column has no room for, comes first.
  assert.equal(columnWidth(14, room, 11.8, { column: 36, columns: 15, room }), 54);
});

test("tokens that two texts begin with alike are those of the same ids, written the same", () => {
  const tokens = (ids, visible = ids.map(String)) => ({ ids, visible });
  assert.equal(commonStart(tokens([1, 2, 3]), tokens([1, 2, 3])), 3);
  assert.equal(commonStart(tokens([1, 2, 3]), tokens([1, 4, 3])), 1);
  assert.equal(commonStart(tokens([1, 2]), tokens([1, 2, 3])), 2);
  assert.equal(commonStart(tokens([1, 2, 3]), tokens([1])), 1);
  assert.equal(commonStart(tokens([1, 2], ["a", "b"]), tokens([1, 2], ["a", "c"])), 1);
  assert.equal(commonStart(tokens([]), tokens([1])), 0);
});

test("the text box is as high as whole lines of it", () => {
  assert.deepEqual([20, 60, 140, 141, 2000].map((text) => promptHeight(text, 20, 20)), [40, 80, 160, 160, 160]);
  assert.equal(promptHeight(0, 22, 10), 32);
});

test("a wide cell of the lens has room for its first words, each with its probability", () => {
  const data = {
    pieces: [" of", "␣the", "x"].map((visible) => ({ visible })), k: 3,
    top_ids: { data: [0, 0, 0, 1, 2, 0] }, top_probs: { data: [0, 0, 0, 32768, 6554, 0] },
  };
  assert.deepEqual(firstWords(data, 1, 204), [["the", ".500"], ["x", ".100"]]);
  assert.equal(firstWords(data, 1, 272).length, 3);
  assert.deepEqual(firstWords(data, 1, 136), []);
});

test("cells of a small matrix say their weights, not those of a hidden key, and none that are near enough only", () => {
  const chosen = { size: 2, causal: true, exact: true, weights: Float32Array.from([1, 0.25, 0.75]) };
  assert.deepEqual(cellNumbers({ chosen, scale: 1, hideFirst: false }), [[0, 0, "1", 255], [1, 0, ".25", 128], [1, 1, ".75", 221]]);
  assert.deepEqual(cellNumbers({ chosen, scale: 1, hideFirst: true }), [[1, 1, ".75", 255]]);
  assert.deepEqual(cellNumbers({ chosen: { ...chosen, exact: false }, scale: 1, hideFirst: false }), []);
  assert.deepEqual(cellNumbers({ chosen, scale: 2, hideFirst: false }), []);
});

test("shares of one key are 1, its lengths are not", () => {
  assert.deepEqual([singleKey({ n_keys: 1, unit: "" }), singleKey({ n_keys: 1, unit: "norm" }), singleKey({ n_keys: 2, unit: "" })], [true, false, false]);
});

test("every colour of the lens stays between 0 and 1", () => {
  const data = {
    k: 1, tokens: [3], d_vocab: 100, max_entropy_nats: 4.6,
    top_probs: { data: [65535] }, kl_to_final_nats: { data: [30] }, final_probs: { data: [0.2] },
    jsd_nats: { data: [Math.LN2] }, entropy_nats: { data: [4.6] }, token_log_probs: { data: [-0.1] }, token_ranks: { data: [99] },
  };
  for (const [name, mode] of Object.entries(LENS_COLOURS)) {
    const share = mode.share(data, mode.known ? mode.known(data, 0, 3) : 0);
    assert.ok(share >= 0 && shade(share) <= 255, name);
    assert.equal(mode.ends(data).length, 2);
  }
  assert.deepEqual(["token_rank", "token_probability"].map((name) => LENS_COLOURS[name].known(data, 0, 4)), [null, null]);
  assert.equal(LENS_COLOURS.jsd.share(data, 0), 1);
  assert.equal(LENS_COLOURS.jsd.share({ ...data, jsd_nats: undefined }, 0), 0);
});

test("of a pinned word, a recorded cell says what it knows and nothing else", () => {
  // 2 positions, 3 words listed in each of 2 layers; of one more word at each position all layers are known.
  const data = {
    n_pos: 2, k: 3, tokens: [90], token_visible: ["␣x"], pieces: [10, 11, 12, 13, 14].map((id) => ({ id, visible: `w${id}` })),
    top_ids: { data: [0, 1, 2, 1, 2, 3, 0, 2, 1, 3, 1, 2] },
    top_probs: { data: [600, 300, 100, 500, 400, 50, 700, 200, 100, 900, 50, 20].map((one) => Math.round(one * 65.535)) },
    token_log_probs: { data: [-1, -2, -3, -4] }, token_ranks: { data: [5, 6, 7, 8] },
    followed_ids: { data: Uint32Array.of(10, 14), shape: [2, 1] }, followed_ranks: { data: [0, 40, 0, 9] },
    followed_probs: { data: [39321, 66, 45875, 131] },
  };
  assert.deepEqual(pinnedWord(data, 3, 90), { probability: Math.exp(-4), rank: 8 });
  assert.deepEqual(pinnedWord(data, 1, 14), { probability: 66 / 65535, rank: 40 });
  assert.deepEqual(pinnedWord(data, 3, 14), { probability: 131 / 65535, rank: 9 });
  // At the other position it is neither followed nor listed.
  assert.equal(pinnedWord(data, 0, 14), null);
  assert.equal(pinnedWord(data, 2, 13), null);
  const listed = pinnedWord(data, 3, 13);
  assert.deepEqual([listed.probability.toFixed(3), listed.rank], ["0.900", null]);
  assert.equal(pinnedText(listed, ""), "0.900 · rank ?");
  assert.equal(pinnedText(pinnedWord(data, 1, 14), ""), "0.001 · rank 40");
  assert.equal(pinnedText(null, "not recorded here"), "not recorded here");
  assert.deepEqual([wordName(data, 90), wordName(data, 12), wordName(data, 7)], ["␣x", "w12", "#7"]);
  // While a kernel answers, nothing is taken from elsewhere.
  assert.equal(pinnedWord({ ...data, followed_ids: undefined }, 3, 13), null);
  assert.equal(LENS_COLOURS.token_rank.known(data, 3, 13), null);
});

test("lines of pinned words are those that were recorded at the position, and a gap stays a gap", () => {
  const words = { visible: { 7: "␣Rome", 8: "␣Paris" }, tokens: [5], layers: [0, 1], n_pos: 3, colours: ["red", "green", "blue"], quantities: ["rank"] };
  const arrays = {
    token_ranks: { data: [0, 1, 2, 3, 4, 5] }, token_log_probs: { data: [0, 0, 0, 0, 0, Math.log(0.5)] },
    followed_ids: { data: Uint32Array.of(9, 9, 7), shape: [3, 1] },
    followed_ranks: { data: [0, 0, 30, 0, 0, 4] }, followed_probs: { data: [0, 0, 12, 0, 0, 871] },
  };
  const [asked, followed, unknown] = pinnedCurves(words, arrays, [5, 7, 8], "rank", 2);
  assert.deepEqual([asked.values, asked.name, asked.colour], [[3, 6], "#5", "red"]);
  assert.deepEqual([followed.values, followed.name, followed.colour], [[31, 5], "␣Rome", "green"]);
  assert.deepEqual([unknown.values, unknown.name], [null, "␣Paris"]);
  const shares = pinnedCurves(words, arrays, [5, 7], "probability", 2);
  assert.deepEqual(shares.map(({ values }) => values), [[1, 0.5], [0.012, 0.871]]);
  assert.equal(shares[1].say(shares[1].values[0]), "0.012");
  assert.equal(pinnedCurves(words, arrays, [7], "rank", 0)[0].values, null);
  assert.deepEqual(linePieces([0, 1, 2, 5], [1, NaN, 2, 0], false), [[[0, 1]], [[2, 2], [5, 0]]]);
  assert.deepEqual(linePieces([0, 1, 2], [1, 0, 2], true), [[[0, 1]], [[2, 2]]]);
  assert.equal(heightOf(100, { low: 1, high: 10000, yLow: 10, yHigh: 210, log: true }), 110);
  assert.equal(heightOf(1, { low: -1, high: 3, yLow: 200, yHigh: 0, log: false }), 100);
  const values = { data: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], shape: [2, 2, 3] };
  assert.deepEqual(sheetCurves({ layers: [4, 6], names: ["a", "b"], colours: ["red", "blue"] }, values, 1).map((one) => one.values), [[2, 5], [8, 11]]);
});

test("arrays come out of their buffers whatever their alignment", () => {
  const bytes = new Uint8Array(9);
  new DataView(bytes.buffer).setFloat32(1, 1.5, true);
  new DataView(bytes.buffer).setFloat32(5, -2, true);
  const arrays = unpackArrays([{ name: "x", dtype: "float32", shape: [2] }], [new DataView(bytes.buffer, 1)]);
  assert.deepEqual([...arrays.x.data], [1.5, -2]);
});

/** A widget model of a front end that keeps `sent`, what the page says; `receive` is what the kernel says. */
function wireModel() {
  const model = { ...fakeModel({}), sent: [], send: (content) => model.sent.push(content) };
  model.on = (_event, handler) => { model.receive = handler; };
  return model;
}

const NUMBERS = [{ name: "x", dtype: "uint16", shape: [3] }];
const dataOf = (revision, more = {}) => ({ type: "data", revision, meta: { layers: [0] }, arrays: NUMBERS, ...more });

test("arrays that came as text are the same bytes, whatever they are", () => {
  const bytes = Uint8Array.from({ length: 256 }, (_, value) => 255 - value);
  const [read, nothing] = decodedBuffers([Buffer.from(bytes).toString("base64"), ""]);
  assert.deepEqual([...new Uint8Array(read.buffer, read.byteOffset, read.byteLength)], [...bytes]);
  assert.equal(nothing.byteLength, 0);
});

test("a front end that carries buffers asks for nothing more", () => {
  const model = wireModel();
  const store = openStore(model);
  model.receive(dataOf(1), [new DataView(Uint16Array.of(7, 8, 9).buffer)]);
  // A part without arrays needs no buffers, and some front ends then give none at all.
  model.receive({ type: "part", revision: 1, meta: { stale: true }, arrays: [] }, undefined);
  assert.deepEqual([[...store.data.x.data], store.data.stale], [[7, 8, 9], true]);
  assert.deepEqual(model.sent, [{ type: "ready" }]);
});

for (const [what, lost] of [["no buffers", []], ["nothing", undefined], ["null", null]]) {
  test(`where a message arrives with ${what}, its arrays are asked for as text, once`, () => {
    const model = wireModel();
    const store = openStore(model);
    let heard = 0;
    store.listen(() => { heard += 1; });
    model.receive(dataOf(1), lost);
    model.receive(dataOf(2), lost);
    assert.deepEqual([store.data, heard], [null, 0]);
    assert.deepEqual(model.sent, [{ type: "ready" }, { type: "ready", base64: true }]);
    model.receive(dataOf(2, { base64: [Buffer.from(Uint16Array.of(7, 8, 65535).buffer).toString("base64")] }), lost);
    assert.deepEqual([[...store.data.x.data], store.data.x.shape, store.data.revision, heard], [[7, 8, 65535], [3], 2, 1]);
  });
}

const branch = (kind, title = kind, parallel = false) => ({ kind: "branch", parallel, elements: [{ kind: "norm", title: "norm", details: [] }, { kind, title, details: [] }] });
const trunk = { kind: "trunk", parallel: false, elements: [{ kind: "norm", title: "norm", details: [] }] };

test("amounts are short in the stack and whole in the pane", () => {
  assert.deepEqual([0, 576, 3540096, 999949, 999950, 28311552, 51.6e9].map(shortAmount), ["0", "576", "3.54M", "1.00M", "1.00M", "28.3M", "51.6B"]);
  assert.deepEqual([7, 576, 1536, 134515008].map(longAmount), ["7", "576", "1,536", "134,515,008"]);
});

test("what a token costs has three places and a unit; what is not known is not said", () => {
  assert.deepEqual([768, 7077888, 999950, 268e9].map((count) => measured(count, "FLOP")), ["768 FLOP", "7.08 MFLOP", "1.00 MFLOP", "268 GFLOP"]);
  const whole = { flops_per_token: 7077888, flops_per_key: 2304, cache_bytes_per_token: 768, state_bytes: 0, cache_limit: 511, notes: [] };
  assert.deepEqual(costs(whole), ["7.08 MFLOP/token", "cache 768 B/token"]);
  assert.deepEqual(costs({ ...whole, cache_bytes_per_token: 0, state_bytes: 2880 }), ["7.08 MFLOP/token", "state 2.88 kB"]);
  assert.deepEqual(costs({ flops_per_token: null, cache_bytes_per_token: null, state_bytes: null }), []);
  assert.deepEqual(costLines({ ...whole, notes: ["no more"] }), [
    "7,077,888 floating-point operations per token in products with weights",
    "2,304 more in attention for each position that the token looks at",
    "768 bytes of cache per token, of the last 511 tokens", "no more",
  ]);
});

test("bands are those of the selection grammar", () => {
  assert.deepEqual(bandEnds(30), [["early", 0, 7], ["middle", 8, 21], ["late", 22, 29]]);
  assert.deepEqual(bandEnds(12), [["early", 0, 2], ["middle", 3, 8], ["late", 9, 11]]);
  assert.deepEqual(bandEnds(1), [["early", 0, 0]]);
  assert.deepEqual(bandEnds(2), [["early", 0, 0], ["late", 1, 1]]);
});

test("parallel branches stand together, and nothing joins a part of the stream itself", () => {
  const [attention, mlp, beside] = [branch("attention"), branch("mlp"), branch("mlp", "FFN", true)];
  assert.deepEqual(stepGroups([attention, mlp]), [[attention], [mlp]]);
  assert.deepEqual(stepGroups([attention, beside, trunk]), [[attention, beside], [trunk]]);
  assert.deepEqual(stepGroups([trunk, beside]), [[trunk], [beside]]);
});

test("layers that say the same are of one kind", () => {
  const layer = (number, steps, trouble = "") => ({ layer: number, steps, norms: "pre", n_params: 5, trouble });
  const layers = [
    layer(0, [branch("mixer", "Mamba"), branch("mlp", "FFN")]), layer(1, [branch("attention"), branch("mlp", "FFN", true)]),
    layer(2, [branch("mixer", "Mamba"), branch("mlp", "FFN")]), layer(3, [], "no"),
  ];
  assert.deepEqual(layerKinds(layers).map(({ title, layers: numbers }) => [title, numbers]), [
    ["Mamba · FFN · norm before", [0, 2]], ["attention ∥ FFN · norm before", [1]], ["not taken apart", [3]],
  ]);
  const [mixing, cross, mlp] = columnShares(layers, 0);
  assert.equal(cross, 0);
  assert.ok(mixing > mlp && mlp > 0);
});

test("parameters are named inside their part, a bias beside its weight, experts in one line", () => {
  const weights = (module, ...pairs) => weightLines({ module, weights: pairs.map(([path, ...shape]) => ({ path, shape })) }).map(({ name, text }) => [name, text]);
  assert.deepEqual(weights("m.attn", ["m.attn.q.weight", 6, 4], ["m.attn.q.bias", 6], ["m.attn.sinks", 3]), [["q", "6 × 4 + bias 6"], ["sinks", "3"]]);
  assert.deepEqual(weights("m.norm", ["m.norm.weight", 576]), [["weight", "576"]]);
  assert.deepEqual(weights("m", ["m.experts.0.w1.weight", 4, 6], ["m.experts.1.w1.weight", 4, 6]), [["experts.*.w1", "2 of 4 × 6"]]);
  assert.deepEqual(weights("m", ["elsewhere.scale"]), [["elsewhere.scale", "1 number"]]);
});

test("a step with Shift moves the end on which the layer stands, else it opens a range", () => {
  const from = (layer, [first, last], step) => extendedRange([first, last], layer, step, 30);
  assert.deepEqual(from(20, [10, 20], 1), { layer: 21, range: [10, 21] });
  assert.deepEqual(from(20, [10, 20], -1), { layer: 19, range: [10, 19] });
  assert.deepEqual(from(10, [10, 20], -1), { layer: 9, range: [9, 20] });
  assert.deepEqual(from(15, [10, 20], 1), { layer: 16, range: [15, 16] });
  assert.deepEqual(from(5, [5, 5], -1), { layer: 4, range: [4, 5] });
  assert.deepEqual(from(29, [22, 29], 1), { layer: 29, range: [22, 29] });
  assert.deepEqual([rangeText([3, 3]), rangeText([3, 5])], ["3", "3-5"]);
});

test("a parameter counts once; a tied head is its embedding", () => {
  const part = (kind, path, ...shape) => ({ kind, title: kind, details: [], weights: [{ path, shape }] });
  const shared = { kind: "branch", parallel: false, elements: [part("mlp", "block.w", 3, 4)] };
  const map = {
    before: [part("embedding", "wte", 10, 2)], after: [part("head", "lm_head", 10, 2)], tied: true, n_params: 35,
    layers: [{ steps: [shared] }, { steps: [shared] }],
  };
  assert.deepEqual(parameterShares(map), [{ name: "embedding", n_params: 20 }, { name: "FFN", n_params: 12 }, { name: "other parts", n_params: 3 }]);
});

test("rows of the stack stay between readable and calm; a path gives way before its last name", () => {
  assert.deepEqual([2, 30, 200].map((count) => stackRowHeight(count, 464)), [60, 15, 14]);
  assert.deepEqual(pathParts("model.layers.3.self_attn"), ["model.layers.3.", "self_attn"]);
  assert.deepEqual(pathParts("lm_head"), ["", "lm_head"]);
});

test("pages are added, closed and moved, and the last one stays", () => {
  assert.deepEqual(toggled(["lens"], "map"), ["lens", "map"]);
  assert.deepEqual(toggled(["lens", "map"], "lens"), ["map"]);
  assert.deepEqual(toggled(["lens"], "lens"), ["lens"]);
  assert.deepEqual(movedPage(["a", "b", "c"], "a", 1), ["b", "a", "c"]);
  assert.deepEqual(movedPage(["a", "b", "c"], "c", 1), ["a", "b", "c"]);
  assert.deepEqual(movedPage(["a", "b"], "c", -1), ["a", "b"]);
});

test("the bars of an attribution stand around zero and its rows are the whole logit", () => {
  assert.deepEqual(signedBar(4, 8), { left: 50, width: 25 });
  assert.deepEqual(signedBar(-8, 8), { left: 0, width: 50 });
  assert.deepEqual(signedBar(0, 0), { left: 50, width: 0 });
  const parts = [{ name: "mlp1", layer: 1, logit: 3 }, { name: "embed", layer: null, logit: -1 }];
  const rows = ledgerRows({ parts, n_others: 2, others: 0.5, error: 0.25, logit: 2.75 });
  assert.deepEqual(rows.map(({ name }) => name), ["mlp1", "embed", "2 others", "error", "logit"]);
  assert.equal(rows.slice(0, -1).reduce((sum, row) => sum + row.logit, 0), rows.at(-1).logit);
  assert.deepEqual(ledgerRows({ parts, n_others: 0, others: 0, error: 0, logit: 2 }).map(({ text }) => text), [undefined, undefined, "0", undefined]);
});

test("a box that is drawn inside holds for nothing that is drawn later", () => {
  const calls = [];
  const note = (name) => (...given) => calls.push([name, ...given].join(" "));
  const context = Object.fromEntries(["save", "beginPath", "rect", "clip", "restore"].map((name) => [name, note(name)]));
  clipped(context, [1, 2, 3, 4], note("draw"));
  assert.deepEqual(calls, ["save", "beginPath", "rect 1 2 3 4", "clip", "draw", "restore"]);
});

/** A canvas that notes what is drawn: the names of the calls, with what they were given. */
function fakeCanvas() {
  const calls = [];
  const context = new Proxy({}, {
    get: (own, name) => own[name] ?? ((...given) => { calls.push([name, ...given]); return { width: 8 }; }),
    set: (own, name, value) => { own[name] = value; return true; },
  });
  const sizes = [];
  const canvas = { style: {}, getContext: () => context, calls, sizes };
  for (const side of ["width", "height"]) {
    let now = 0;
    Object.defineProperty(canvas, side, { get: () => now, set: (value) => { now = value; sizes.push(`${side} ${value}`); } });
  }
  return canvas;
}

test("a canvas has the device's pixels and the page's size, and is not cleared by setting the same again", () => {
  const canvas = fakeCanvas();
  try {
    for (const [ratio, zoom, width, height] of [[2, 1, 602, 241], [1.5, 1, 452, 181], [1, 1.6, 482, 193], [undefined, undefined, 301, 121]]) {
      globalThis.devicePixelRatio = ratio;
      canvas.currentCSSZoom = zoom;
      canvas.calls.length = canvas.sizes.length = 0;
      sizedContext(canvas, 301, 120.5);
      assert.deepEqual([canvas.width, canvas.height, canvas.style.width, canvas.style.height], [width, height, "301px", "120.5px"]);
      const scale = (ratio ?? 1) * (zoom ?? 1);
      assert.deepEqual(canvas.calls, [["setTransform", scale, 0, 0, scale, 0, 0], ["clearRect", 0, 0, 301, 120.5]]);
      assert.equal(canvas.sizes.length, 2);
      sizedContext(canvas, 301, 120.5);
      assert.equal(canvas.sizes.length, 2);
    }
  } finally {
    delete globalThis.devicePixelRatio;
  }
});

test("a view is drawn again at every change of the device's pixels alone, until it is closed", () => {
  const asked = [];
  const matchMedia = (query) => {
    const media = Object.assign(new EventTarget(), { query });
    asked.push(media);
    return media;
  };
  const nothing = class { observe() {} disconnect() {} };
  const page = { matchMedia, MutationObserver: nothing, ResizeObserver: nothing, ShadowRoot: nothing, document: {}, devicePixelRatio: 1 };
  Object.assign(globalThis, page);
  const pixels = () => asked.filter(({ query }) => query.startsWith("(resolution"));
  try {
    let drawn = 0;
    const stop = watchLook({ getRootNode: () => ({}) }, () => { drawn += 1; });
    for (const [times, ratio] of [2, 1.25, 1].entries()) {
      globalThis.devicePixelRatio = ratio;
      pixels().at(-1).dispatchEvent(new Event("change"));
      assert.equal(drawn, times + 1);
    }
    assert.deepEqual(pixels().map(({ query }) => query), ["(resolution: 1dppx)", "(resolution: 2dppx)", "(resolution: 1.25dppx)", "(resolution: 1dppx)"]);
    // Of what was asked before, nothing is heard a second time.
    for (const media of pixels().slice(0, -1)) media.dispatchEvent(new Event("change"));
    assert.equal(drawn, 3);
    stop();
    for (const media of [...asked]) media.dispatchEvent(new Event("change"));
    assert.equal(drawn, 3);
  } finally {
    for (const name of Object.keys(page)) delete globalThis[name];
  }
});

test("in a part of an answer, cells that are not computed have a dot in the place of word and colour", () => {
  // Two layers of three tokens; of the first token nothing is there, of the last one all.
  const data = {
    n_pos: 3, k: 1, layers: [4, 6], pieces: [{ id: 0, visible: "␣x" }, { id: 1, visible: "y" }],
    top_ids: { data: [0, 0, 1, 0, 1, 0] }, top_probs: { data: Array(6).fill(65535) }, kl_to_final_nats: { data: Array(6).fill(0) },
    done: { data: [0, 0, 1, 0, 1, 1] },
  };
  const palette = { font: "sans", muted: "muted", fills: Array(256).fill("fill"), inks: Array(256).fill("ink") };
  const painted = (whole) => {
    const [canvas, cells] = [fakeCanvas(), []];
    const scene = { data: whole, held: new Map([[4, 0], [6, 1]]), palette, colour: "faded", token: null, recorded: false };
    const context = canvas.getContext("2d");
    paintWords(context, scene, { row: 20, column: 40 }, (cell) => {
      for (const layer of [6, 4]) {
        for (const column of [0, 1, 2]) {
          canvas.calls.length = 0;
          cell(layer, column, 0, 0, 20);
          const words = canvas.calls.filter(([name]) => name === "fillText").map(([, text]) => text);
          cells.push([words.join(), canvas.calls.some(([name]) => name === "fillRect")]);
        }
      }
    });
    return cells;
  };
  const [none, x, y] = [["·", false], ["x", true], ["y", true]];
  assert.deepEqual(painted(data), [none, y, x, none, none, y]);
  assert.deepEqual(painted({ ...data, done: undefined }), [x, y, x, x, x, y]);
});

test("of a grid of thousands of tokens, only the cells and labels in view are drawn, wherever it is scrolled to", () => {
  const canvas = fakeCanvas();
  const scroll = { clientWidth: 700, clientHeight: 424, scrollLeft: 0, scrollTop: 0, dataset: {} };
  // Of the narrowest columns, 18 fill the room of 674 px.
  const column = 37;
  const spacer = { style: {} };
  const painted = [];
  const grid = makeLayerGrid({ canvas, spacer, scroll }, (context, scene, size, each) => each((layer, place, left, top) => painted.push({ layer, column: place, left, top })));
  const rows = Array.from({ length: 80 }, (_, row) => 79 - row);
  const scene = { rows, labels: Array.from({ length: 4000 }, (_, place) => `t${place}`), palette: { least: 0 }, here: { layer: 79, column: 3999 } };
  for (const [x, y] of [[0, 0], [72_010, 333], [4000 * column - 674, 80 * rowHeight(80) - 402]]) {
    [scroll.scrollLeft, scroll.scrollTop] = [x, y];
    painted.length = canvas.calls.length = 0;
    grid.draw(scene);
    const [columns, layers] = ["column", "layer"].map((name) => new Set(painted.map((cell) => cell[name])));
    assert.equal(painted.length, columns.size * layers.size);
    assert.ok(columns.size >= 18 && columns.size <= 20, `${columns.size} columns`);
    assert.ok(layers.size >= 402 / rowHeight(80) && layers.size <= 402 / rowHeight(80) + 2, `${layers.size} layers`);
    assert.ok(painted.every(({ left, top }) => left > 26 - column && left < 700 && top > -rowHeight(80) - 1 && top < 402));
    assert.deepEqual([Math.min(...columns), Math.max(...columns) + 1], grid.visibleColumns());
    const written = canvas.calls.filter(([name]) => name === "fillText").length;
    assert.ok(written > 18 && written <= columns.size + layers.size, `${written} texts`);
  }
  assert.ok(painted.some((cell) => cell.layer === 0 && cell.column === 3999));
  assert.equal(spacer.style.width, `${26 + 4000 * column + 674 % column}px`);
});

test("what is led to is in sight in the one drawing of it, and only a scroll that came later needs another", () => {
  const canvas = fakeCanvas();
  const spacer = { style: {} };
  let [asked, left] = [0, 0];
  // As in a page: nothing is scrolled to beyond the end.
  const scroll = {
    clientWidth: 700, clientHeight: 424, scrollTop: 0, dataset: {},
    get scrollLeft() { asked += 1; return left = Math.max(0, Math.min(left, parseFloat(spacer.style.width ?? 0) - 700)); },
    set scrollLeft(x) { left = x; },
  };
  const drawn = [];
  const grid = makeLayerGrid({ canvas, spacer, scroll }, (context, scene, size, each) => {
    const columns = new Set();
    each((layer, column) => columns.add(column));
    drawn.push([Math.min(...columns), Math.max(...columns)]);
  });
  const scene = (count, column) => ({ rows: [1, 0], labels: Array(count).fill("t"), palette: { least: 0 }, here: { layer: 1, column } });
  assert.equal(grid.isScrolled(), false);
  grid.draw(scene(64, 63), true);
  assert.deepEqual(drawn, [[46, 63]]);
  assert.equal(grid.isScrolled(), false);
  // One more token, as it is typed; then one less.
  grid.draw(scene(65, 64), true);
  grid.draw(scene(64, 63), true);
  assert.deepEqual(drawn.slice(1), [[47, 64], [46, 63]]);
  assert.equal(grid.isScrolled(), false);
  // What is in sight is measured once, and nothing moves to it.
  asked = 0;
  grid.draw(scene(64, 50), true);
  assert.deepEqual([drawn.at(-1), asked], [[46, 63], 1]);
  // Where nobody is led, nothing moves.
  grid.draw(scene(64, 3));
  assert.deepEqual(drawn.at(-1), [46, 63]);
  scroll.scrollLeft = 0;
  assert.equal(grid.isScrolled(), true);
});

test("the bars of source tokens are as wide as fits, and alike on both sides of zero", () => {
  assert.deepEqual([sourceWidth(5, 500), sourceWidth(21, 510), sourceWidth(3000, 500)], [52, 24, 12]);
  assert.deepEqual(sourceEnds([1, 3]), [0, 3]);
  assert.deepEqual(sourceEnds([1, -3]), [-3, 3]);
  assert.deepEqual(sourceEnds([0]), [0, 1]);
  assert.deepEqual([largestPlace([1, -3, 2]), largestPlace([0])], [1, 0]);
});

test("a prediction is none, among the top, the top, the top for good", () => {
  assert.deepEqual([9, 5, 0, 1, 0].map((rank, layer) => settleLevel(rank, layer, 4, 6)), [0, 1, 2, 1, 3]);
  // The last layer makes the prediction, whatever rounding says of its rank.
  assert.equal(settleLevel(1, 4, 4, 1), 3);
});

const strip = {
  layers: [0, 1, 2, 3], labels: ["a", "b", "c"], words: ["b", "c", "d"], k: 5, shares: { early: 1 / 3, middle: 0, late: 2 / 3 },
  settled: { data: Int32Array.of(0, 3, 3) }, emerged: { data: Int32Array.of(0, 2, 3) },
  ranks: { data: Uint32Array.of(0, 70, 80, 0, 7, 9, 0, 4, 6, 0, 0, 0) },
};

test("where a prompt is decided is said in words", () => {
  assert.deepEqual(settledBy([0, 3, 3], 4), [1, 1, 1, 3]);
  assert.equal(sharesText(strip.shares, 3), "early 33 % · middle 0 % · late 67 % of 3 predictions settle");
  assert.equal(sharesText({ early: 1 }, 1), "early 100 % of 1 prediction settles");
  const held = new Map(strip.layers.map((layer, row) => [layer, row]));
  assert.equal(settleText({ layer: 2, column: 1 }, { data: strip, held }),
    "after “b” (position 1): “c” is settled from layer 3 on, among the top 5 first at layer 2 · layer 2: rank 4");
  assert.match(settleText({ layer: 0, column: 0 }, { data: strip, held }), /layer 0: rank 0, the most probable$/);
  assert.equal(layerText(3, strip), "layer 3: 2 of 3 predictions settle here, 3 (100 %) are settled by now");
});

test("a mark out of view stands at the edge and says where", () => {
  assert.deepEqual(layerMark(5, [7, 6, 5, 4]), { row: 5, text: "5" });
  assert.deepEqual(layerMark(9, [7, 6, 5, 4]), { row: 7, text: "▴9" });
  assert.deepEqual(layerMark(2, [7, 6, 5, 4]), { row: 4, text: "▾2" });
  assert.deepEqual(layerMark(5, [8, 6, 4]), { row: 6, text: "5" });
});

test("every layer has its place in the picture of the shares", () => {
  const frame = curveFrame(320, 444, 30);
  for (const layer of [0, 7, 29]) assert.equal(frame.layerAt(frame.x(layer) + frame.step / 2), layer);
  assert.deepEqual([frame.layerAt(-5), frame.layerAt(900)], [0, 29]);
  assert.ok(frame.y(1) < frame.y(0));
});

test("positions share the width, and what cannot be seen of them is said", () => {
  const nats = Float32Array.of(NaN, 1, 3);
  const data = { labels: ["a", "b", "c"], nats: { data: nats }, n_ctx: 8, windows: [] };
  const frame = lossFrame(1000, 170, nats);
  assert.deepEqual([frame.positionAt(frame.x(2) + 1), frame.positionAt(0), frame.positionAt(999)], [2, null, null]);
  assert.equal(meanOf([...nats]), 2);
  assert.equal(lossSummary(data, frame), "nats per token · mean 2.000 (dashed) · trained for 8 positions: all inside");
  const long = { ...data, n_ctx: 2, windows: [{ width: 2, layers: "0,2" }] };
  assert.equal(lossSummary(long, { step: 0.3 }), "nats per token · mean 2.000 (dashed) · trained for 2 positions: 1 past it are "
    + "extrapolation · window 2 in layers 0,2 · 4 positions per pixel, the tallest is seen");
  assert.equal(lossText(0, data), "“a” (position 0): nothing predicts the first token");
  assert.equal(lossText(2, long), "“c” (position 2): 3.000 nats, probability 0.0498 · past the trained length");
  // Twenty-one bars fill a page, and the last of them did not move the others.
  assert.deepEqual([20, 21, 22, 400].map((count) => lossFrame(1136, 170, new Float32Array(count)).step), [50, 50, 42, 1072 / 400]);
  assert.equal(lossFrame(1000, 170, Float32Array.of(NaN)).high, 1);
  assert.match(withoutLoss(Float32Array.of(NaN)), /^One token has no loss/);
  assert.match(withoutLoss(Float32Array.of(NaN, NaN)), /^No token/);
  assert.equal(withoutLoss(nats), null);
});

test("neurons have a name, experts their weights, and values with a sign two colours", () => {
  assert.equal(neuronTitle({ n_experts: 0, n_neurons: 48 }, 7), "7");
  assert.equal(neuronTitle({ n_experts: 4, n_neurons: 48 }, 100), "2 · 4");
  const data = { experts: [[1, 3], [0, 2]], router_weights: { data: [0.75, 0.25, 0.5, 0.5] } };
  assert.equal(expertWords(data, 0), "1 3");
  assert.equal(expertWords(data, 0, true), "1 (× 0.750), 3 (× 0.250)");
  assert.equal(expertWords({ experts: null }, 0), "");
  const half = (name) => ({ fills: Array.from({ length: 256 }, (_, place) => name + place), inks: Array(256).fill("#000") });
  const colours = cellColours(Float32Array.from([2, -1, 0, NaN]), { above: half("a"), below: half("b") });
  assert.deepEqual(colours.map(({ fill }) => fill), ["a255", "b128", "a0", ""]);
});

test("letters of a recording are its bytes, whatever they are and however many", () => {
  // What Python's base64.b85encode makes of bytes 0, 255, 60, 1, 2, with "." for "<".
  assert.deepEqual([...decoded85("0RKDz0s")], [0, 255, 60, 1, 2]);
  assert.deepEqual([...gatheredBytes(Uint8Array.of(1, 2, 3, 4, 5, 6), 2)], [1, 4, 2, 5, 3, 6]);
});

test("a recorded gallery has every matrix to three decimals", () => {
  // Two causal matrices of two queries: the first row of both, then the second of both.
  const stack = { size: 2, keys: 2, causal: true, count: 2, roots: Uint8Array.of(255, 255, 180, 181, 100, 0), limit: 0 };
  const steps = Uint8Array.of(128, 128, 128 - 2, 128 + 1, 128, 128);
  const first = exactMatrix(stack, steps, 0);
  assert.equal(first.exact, true);
  assert.deepEqual([...rowWeights(first, 0)], [1]);
  // 0.498 by its root, two thousandths less in truth; 0.504, one more.
  assert.deepEqual([...rowWeights(first, 1)].map((weight) => weight.toFixed(3)), ["0.496", "0.505"]);
  assert.deepEqual([...rowWeights(exactMatrix(stack, steps, 1), 1)].map((weight) => weight.toFixed(3)), ["0.154", "0.000"]);
});

test("a model without a kernel shares its place, plays what was recorded, and never goes back", async () => {
  const place = { layer: 3 };
  let saved = 0;
  const heard = [];
  const message = (text) => ({ content: { type: "data", revision: 9, meta: { text } }, buffers: [] });
  const model = recordedModel(place, { traits: { colour: "kl" }, messages: [message("one")] }, () => { saved += 1; });
  model.on("msg:custom", ({ revision, meta }) => heard.push([revision, meta.text]));
  model.on("change:colour", (_model, value) => heard.push(value));
  model.send({ type: "ready" });
  assert.deepEqual(heard, []);
  await new Promise((resolve) => setTimeout(resolve, 5));
  model.set("colour", "entropy");
  model.set("colour", "entropy");
  model.set("layer", 5);
  model.save_changes();
  assert.deepEqual([place.layer, model.get("layer"), model.get("colour"), saved], [5, 5, "entropy", 1]);
  model.replay({ traits: { colour: "kl" }, messages: [message("two")] });
  const [[first, one], entropy, kl, [second, two]] = heard;
  assert.deepEqual([one, entropy, kl, two], ["one", "entropy", "kl", "two"]);
  assert.ok(second > first);
});

test("a page that is about a place knows when the reader is elsewhere", () => {
  const about = { layer: "all", position: "some", token: "all" };
  const recorded = { layer: 18, position: 20, token: null };
  assert.equal(placeWords(about, recorded), "layer 18, position 20");
  const now = { layer: 18, position: 3, token: null };
  assert.deepEqual(movedAway(about, recorded, (name) => now[name]), ["position"]);
  assert.deepEqual(layerRuns([0, 1, 2, 5, 7, 8]), [[0, 2], [5, 5], [7, 8]]);
  assert.deepEqual([writtenValue(17), writtenValue(0.12345), writtenValue(1)], ["17", "0.123", "1.000"]);
});

test("heat: words say what a cell is of, and its number where there is one", () => {
  const said = ["“a” in both", "A “a”, B “b”, probability in B"];
  const scene = {
    data: { columns: { picks: "position", numbers: [0, 1, 2], names: ["one", "two", "three"] } }, sheet: { name: "top-1 token", unit: "" },
    values: Float32Array.of(0, 0.25, NaN), held: new Map([[7, 0]]), labels: ["x", "y", "z"], texts: { words: () => "b", in_full: (cell) => said[cell] },
  };
  assert.equal(cellText({ layer: 7, column: 0 }, scene), "layer 7 · one · top-1 token: “a” in both");
  assert.equal(cellText({ layer: 7, column: 1 }, scene), "layer 7 · two · top-1 token: A “a”, B “b”, probability in B 0.250");
  assert.equal(cellText({ layer: 7, column: 2 }, scene), "layer 7 · three · top-1 token: no value");
});

/** Columns: "a" in both, "Paris" beside "London", "x" in B alone. */
const PAIR = {
  words_a: ["a", "Paris", ""], words_b: ["a", "London", "x"], places_a: [0, 1, -1], places_b: [0, 1, 2],
  a: { data: Float32Array.of(1, 0, NaN, 0.75, 0.25, NaN, NaN, NaN, NaN) },
  b: { data: Float32Array.of(1, 0, 0, 0.25, 0.75, 0, 0.5, 0.1, 0.4) },
  limit: 1,
};

test("two heads: a cell is said in full, and what is not there has no difference", () => {
  assert.equal(pairWord(PAIR, 1), "Paris→London");
  assert.equal(pairText(PAIR, { query: 1, key: 0 }), "“Paris→London” (1) → “a” (0) · A 0.750 · B 0.250 · B − A -0.500");
  assert.equal(pairText(PAIR, { query: 2, key: 2 }), "“x” (B 2) → “x” (B 2) · A no token · B 0.400");
  assert.equal(differenceOf(PAIR, 1, 1).change, 0.5);
  assert.ok(Number.isNaN(differenceOf(PAIR, 2, 0).change));
});

test("two heads: the keys whose weight changes most come first, those that nothing changes for never", () => {
  assert.deepEqual(movedKeys(PAIR, 1, 5).map(({ key }) => key), [0, 1]);
  assert.deepEqual(movedKeys(PAIR, 2, 2).map(({ key }) => key), [0, 2]);
  assert.deepEqual(movedKeys(PAIR, 0, 5), []);
});

test("two heads: no value is see-through, zero is the ground, and a difference has the colour of its sign", () => {
  const ramp = (red) => Array.from({ length: 256 }, (_, place) => [red, place, 0]);
  const [a, , change] = pairPixels(PAIR, { ramp: ramp(1), above: { ramp: ramp(2) }, below: { ramp: ramp(3) } });
  const pixel = (pixels, place) => [...pixels.slice(4 * place, 4 * place + 4)];
  assert.deepEqual(pixel(a, 0), [1, 255, 0, 255]);
  assert.deepEqual(pixel(a, 2), [0, 0, 0, 0]);
  assert.deepEqual(pixel(change, 0), [2, 0, 0, 255]);
  assert.deepEqual(pixel(change, 3), [3, Math.round(255 * Math.sqrt(0.5)), 0, 255]);
  assert.deepEqual(pixel(change, 4), [2, Math.round(255 * Math.sqrt(0.5)), 0, 255]);
  assert.deepEqual(pixel(change, 5), [0, 0, 0, 0]);
  const [scaled] = pairPixels({ ...PAIR, limit: 4 }, { ramp: ramp(1), above: { ramp: ramp(2) }, below: { ramp: ramp(3) } });
  assert.deepEqual(pixel(scaled, 0), [1, Math.round(255 * Math.sqrt(0.25)), 0, 255]);
});

test("what is about two texts is stale when either is being typed, and when it is known to be", () => {
  const typed = (state) => ({ get: (name) => state[name] });
  const now = typed({ prompt: "a", second_prompt: "b" });
  assert.ok(!isStale(now, { prompt: "a", second: "b" }));
  assert.ok(isStale(now, { prompt: "a", second: "c" }));
  assert.ok(isStale(now, { prompt: "c", second: "b" }));
  assert.ok(!isStale(now, { prompt: "a" }));
  assert.ok(!isStale(now, { prompt: null }));
  assert.ok(!isStale(typed({}), { prompt: "a", second: "b" }));
  assert.ok(isStale(now, { prompt: "a", second: "b", stale: true }));
  const written = typed({ prompt: "a", target: "x" });
  assert.deepEqual(["x", "y", null, undefined].map((target) => isStale(written, { prompt: "a", target })), [false, true, false, false]);
  assert.deepEqual(["prompt", "second_prompt", "target", "position"].map(isText), [true, true, true, false]);
});

test("scenes are stepped through from none to the last, and no further", () => {
  assert.deepEqual([steppedScene(null, 1, 3), steppedScene(0, 1, 3), steppedScene(2, 1, 3)], [0, 1, null]);
  assert.deepEqual([steppedScene(null, -1, 3), steppedScene(0, -1, 3), steppedScene(2, -1, 3)], [null, null, 1]);
  assert.equal(steppedScene(null, 1, 0), null);
});

test("the next layer is the next one in view", () => {
  const inView = [3, 4, 9];
  assert.deepEqual([steppedLayer(4, 1, inView), steppedLayer(9, 1, inView), steppedLayer(4, -1, inView), steppedLayer(3, -1, inView)], [9, 9, 3, 3]);
});

test("keys of a talk: a remote's two everywhere, arrows with Alt outside text", () => {
  const key = (name, writing = false, held = {}) => sceneKey({ key: name, altKey: false, ...held }, writing);
  const alt = { altKey: true };
  assert.deepEqual([key("PageDown"), key("PageUp", true)], [{ scene: 1 }, { scene: -1 }]);
  assert.deepEqual([key("ArrowRight", false, alt), key("ArrowLeft", false, alt)], [{ scene: 1 }, { scene: -1 }]);
  assert.deepEqual([key("ArrowUp", true, alt), key("ArrowDown", false, alt)], [{ layer: 1 }, { layer: -1 }]);
  assert.deepEqual([key("ArrowRight", true, alt), key("ArrowRight"), key("ArrowUp")], [null, null, null]);
  assert.deepEqual([key("PageDown", false, { ctrlKey: true }), key("PageDown", false, alt), key("a", false, alt)], [null, null, null]);
});

test("type on a canvas is never smaller than the preset's smallest", () => {
  assert.deepEqual([typeSize({}, 9), typeSize({ least: 11.5 }, 9), typeSize({ least: 11.5 }, 13)], ["9px", "11.5px", "13px"]);
});

test("the pointer inside a node that is drawn larger is read in the node's own px", () => {
  const node = { currentCSSZoom: 1.6, getBoundingClientRect: () => ({ left: 100, top: 50 }) };
  assert.deepEqual(pointIn(node, { clientX: 260, clientY: 130 }), [100, 50]);
  delete node.currentCSSZoom;
  assert.deepEqual(pointIn(node, { clientX: 260, clientY: 130 }), [160, 80]);
});

/** A widget model whose kernel answers when the test says so. */
function askedModel(recorded = false) {
  const handlers = new Set();
  const sent = [];
  const answer = ({ revision, focus_key, row }, numbers, block = 2) => {
    const arrays = [{ name: "row", dtype: "float32", shape: [numbers.length, numbers[0].length] }];
    const bytes = Float32Array.from(numbers.flat());
    for (const handler of handlers) handler({ type: "row", revision, meta: { focus_key, first: row * block }, arrays }, [new DataView(bytes.buffer)]);
  };
  return {
    model: { on: (_, handler) => handlers.add(handler), off: (_, handler) => handlers.delete(handler), send: (content) => sent.push(content), get: () => recorded },
    sent, answer, handlers,
  };
}

const LONG = { revision: 7, focus_key: "1.0", focus_block: 2, row_first: 4, row: { data: Float32Array.from([1, 2, 3, 4]), shape: [2, 2] } };

test("numbers of a row are asked once, one at a time, and the row that is wanted last comes next", () => {
  const { model, sent, answer, handlers } = askedModel();
  let changes = 0;
  const rows = makeExactRows(model, () => { changes += 1; });
  assert.deepEqual([...rows.of(LONG, 2).weights], [1, 2, 3, 4]);
  assert.equal(rows.held(LONG, 0), null);
  assert.deepEqual(sent, []);
  for (const row of [0, 0, 1, 3]) assert.equal(rows.of(LONG, row), null);
  assert.deepEqual(sent, [{ type: "row", revision: 7, focus_key: "1.0", row: 0 }]);
  answer(sent[0], [[0.5, 0], [0.25, 0.75]]);
  assert.deepEqual(sent.map(({ row }) => row), [0, 3]);
  assert.deepEqual([changes, rows.of(LONG, 0).first, [...rows.of(LONG, 0).weights]], [1, 0, [0.5, 0, 0.25, 0.75]]);
  // Another edit: what comes late is of no use, and the new picture is asked at once.
  const next = { ...LONG, revision: 8 };
  assert.equal(rows.of(next, 0), null);
  answer(sent[1], [[9, 9], [9, 9]]);
  assert.equal(rows.held(next, 3), null);
  assert.deepEqual(sent.at(-1), { type: "row", revision: 8, focus_key: "1.0", row: 0 });
  // What is there already is not waited for: back at the chosen query, nothing more is asked.
  assert.equal(rows.of(next, 1), null);
  assert.ok(rows.of(next, 2));
  answer(sent.at(-1), [[1, 0], [1, 0]]);
  assert.equal(sent.length, 3);
  rows.close();
  assert.equal(handlers.size, 0);
});

test("on a page without a kernel nobody is asked", () => {
  const { model, sent } = askedModel(true);
  const rows = makeExactRows(model, () => {});
  assert.equal(rows.of(LONG, 0), null);
  assert.ok(rows.of(LONG, 2));
  assert.deepEqual(sent, []);
});

test("of a cell of colours, the largest number is said, and of which tokens it is", () => {
  const rows = { first: 4, keys: 6, weights: Float32Array.from([0.5, 0.125, 0.25, 0, 0.125, 0, 0.625, 0.25, 0, 0.0625, 0, 0.0625]) };
  const all = (row) => drawnShares(row, 0, false);
  const rest = (row) => drawnShares(row, 0, true);
  const said = ({ query, key, number }) => [query, key, number];
  assert.deepEqual(said(exactPair(rows, { key: 0 }, 5, 2, all)), [5, 0, 0.625]);
  // Without the first token, each row is scaled by what is left of it: 0.25 of 0.375, not 0.125 of 0.5.
  assert.deepEqual(said(exactPair(rows, { key: 0 }, 5, 2, rest)), [5, 1, 0.25]);
  assert.deepEqual(said(exactPair(rows, { key: 2 }, 5, 2, all)), [4, 4, 0.125]);
  assert.deepEqual(said(exactPair(rows, null, 5, 2, all)), [5, 0, 0.625]);
  assert.deepEqual(said(exactPair(rows, null, 4, 2, rest)), [4, 2, 0.25]);
  const empty = { first: 0, keys: 2, weights: Float32Array.from([1, 0, 1, 0]) };
  assert.deepEqual(exactPair(empty, { key: 0 }, 0, 2, rest), { query: 0, key: 0, number: 1, share: 0 });
});

test("a matrix of colours says that it is one, and a page without a kernel what is exact in it", () => {
  const matrix = colouredMatrix({ size: 2, keys: 2, causal: true }, Uint8Array.from([255, 0, 51]), 4, 0);
  assert.deepEqual([...matrix.weights].map((weight) => weight.toFixed(2)), ["1.00", "0.00", "0.04"]);
  assert.deepEqual([matrix.exact, matrix.rough, matrix.block], [false, true, 4]);
  assert.equal(colouredMatrix({ size: 1, keys: 1, causal: true }, [255], 1, 5).weights[0], 5);
  assert.match(roughNote(["a", "b", "c"], { first: 2, count: 2 }), /exact here are only the numbers of “c”$/);
  assert.match(roughNote(["a", "b", "c"], { first: 0, count: 2 }), /of “a” to “b”$/);
});
