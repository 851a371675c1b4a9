// What is there for readers who cannot see all of a picture: tables, keys, what is said, colours.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";

import { galleryTable, matrixTitle, readoutText } from "../../layerwidget/widgets/js/attention_words.js";
import { shareTraits } from "../../layerwidget/widgets/js/bus.js";
import { approximateNote } from "../../layerwidget/widgets/js/chosen_matrix.js";
import { makeRamp, readPalette, signedRamps } from "../../layerwidget/widgets/js/colour.js";
import { curvesOfTable, movedPoint, pointNear, valuesOfLayer } from "../../layerwidget/widgets/js/curve_points.js";
import { onFrame } from "../../layerwidget/widgets/js/dom.js";
import { tipPlace } from "../../layerwidget/widgets/js/focus_tip.js";
import { pairCell, stepQuery } from "../../layerwidget/widgets/js/head_compare_view.js";
import { cellValue } from "../../layerwidget/widgets/js/heat_grid.js";
import { lensCell } from "../../layerwidget/widgets/js/logit_lens_view.js";
import { movedPointer, strongest } from "../../layerwidget/widgets/js/matrix_keys.js";
import { tileRow } from "../../layerwidget/widgets/js/patterns.js";
import { linesTold, marksTold } from "../../layerwidget/widgets/js/recorded_figure.js";
import { curvesOfMarks, ringAround, ringBox } from "../../layerwidget/widgets/js/recorded_points.js";
import { settleCell } from "../../layerwidget/widgets/js/settle_strip.js";
import { styled } from "../../layerwidget/widgets/js/styled.js";
import { around, curveTable, cutText, layerTable, listTable, matrixTable } from "../../layerwidget/widgets/js/table_twin.js";
import { newest } from "../../layerwidget/widgets/js/voice.js";

test("of new results, the first view that is seen and has words is read", () => {
  const order = [];
  const view = (words, { isConnected = true, rects = 1 } = {}) => {
    const node = { isConnected, getClientRects: () => Array(rects), compareDocumentPosition: (other) => (order.indexOf(other) > order.indexOf(node) ? 4 : 2) };
    order.push(node);
    return [node, () => words];
  };
  const [gone, hidden, empty, first, second] = [
    view("gone", { isConnected: false }), view("hidden", { rects: 0 }), view(""), view("first"), view("second")];
  assert.equal(newest({}), "");
  assert.equal(newest({ news: new Map([second, first, empty, hidden, gone]) }), "first");
  assert.equal(newest({ news: new Map([empty, second]) }), "second");
  assert.equal(newest({ news: new Map([gone, hidden]) }), "");
});

test("a table is cut around what is chosen, and says so", () => {
  assert.deepEqual(around(0, 5, 24), [0, 5]);
  assert.deepEqual(around(30, 60, 24), [18, 42]);
  assert.deepEqual(around(59, 60, 24), [36, 60]);
  assert.deepEqual(around(1, 60, 24), [0, 24]);
  assert.equal(cutText([18, 42], 60, "rows"), "rows 19 to 42 of 60");
  assert.equal(cutText([0, 5], 5, "rows"), "");
});

test("the table of a layer grid has its rows, its visible columns, and the chosen cell", () => {
  const scene = { rows: [7, 5, 2], labels: ["a", "b", "c", "d", "e"], here: { layer: 5, column: 3 } };
  const table = layerTable("grid", scene, [2, 5], ({ layer, column }) => `${layer}/${column}`);
  assert.deepEqual(table.columns, ["c", "d", "e"]);
  assert.deepEqual(table.rows.map(({ name }) => name), ["7", "5", "2"]);
  assert.deepEqual(table.rows[1].cells, ["5/2", "5/3", "5/4"]);
  assert.deepEqual(table.here, { row: 1, column: 1 });
  assert.equal(table.caption, "grid · columns 3 to 5 of 5");
});

test("the table of a matrix is cut around its query and its key", () => {
  const words = Array.from({ length: 60 }, (_, place) => `w${place}`);
  const table = matrixTable("head", { words, query: 59, key: 3 }, (query, key) => `${query}>${key}`);
  assert.equal(table.caption, "head · queries 37 to 60 of 60 · keys 1 to 24 of 60");
  assert.deepEqual([table.rows.length, table.columns.length], [24, 24]);
  assert.equal(table.rows[table.here.row].cells[table.here.column], "59>3");
  assert.equal(table.rows[0].name, "w36");
  const list = listTable("loss", "token", "nats", words, 59, (place) => String(place));
  assert.deepEqual(list.rows.at(-1), { name: "w59 (59)", cells: ["59"] });
  assert.deepEqual(list.here, { row: 59, column: 0 });
});

const held = new Map([[4, 0], [6, 1]]);

test("cells of the tables say what the picture says", () => {
  const lens = {
    n_pos: 3, k: 2, pieces: [{ visible: "␣x" }, { visible: "y" }],
    top_ids: { data: [0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 0] }, top_probs: { data: Array.from({ length: 12 }, (_, place) => place * 1000) },
  };
  assert.equal(lensCell({ layer: 6, column: 0 }, { data: lens, held }), "y 0.092");
  assert.equal(lensCell({ layer: 6, column: 1 }, { data: { ...lens, done: { data: [1, 1, 1, 1, 0, 1] } }, held }), "not computed");
  const heat = { values: [1, NaN, 0.5, 2, 3, -4], held, labels: ["a", "b", "c"], texts: {} };
  assert.equal(cellValue({ layer: 4, column: 1 }, heat), "no value");
  assert.equal(cellValue({ layer: 6, column: 2 }, heat), "-4.000");
  assert.equal(cellValue({ layer: 6, column: 0 }, { ...heat, texts: { words: (cell) => `w${cell}` } }), "w3 2.000");
  const depth = { labels: ["a", "b", "c"], ranks: { data: [9, 8, 7, 0, 3, 1] }, settled: { data: [6, 9, 9] } };
  assert.equal(settleCell({ layer: 6, column: 0 }, { data: depth, held }), "rank 0, settled");
  assert.equal(settleCell({ layer: 6, column: 1 }, { data: depth, held }), "rank 3");
});

test("the gallery's table says where each head looks, with the first token left out where it is hidden", () => {
  // Two matrices of three queries, causal, query by query: rows of 1, 2 and 3 keys.
  const roots = Uint8Array.from([255, 255, 180, 180, 255, 0, 250, 80, 90, 10, 20, 200]);
  const stack = { size: 3, keys: 3, causal: true, limit: 0, count: 2, roots };
  assert.deepEqual(tileRow(stack, 1, 2).map((weight) => weight.toFixed(2)), ["0.00", "0.01", "0.62"]);
  const scene = {
    data: { heads: [4, 7], block: 1 }, stack, wanted: [5, 3], held: new Map([[5, 0]]), here: { layer: 5, head: 7 },
    hideInGallery: false, matrix: { words: ["a", "b", "c"], keyWords: ["a", "b", "c"], position: 2 },
  };
  const table = galleryTable(scene);
  assert.deepEqual(table.rows, [{ name: "5", cells: ["a 0.96", "c 0.62"] }, { name: "3", cells: ["not computed", "not computed"] }]);
  assert.deepEqual([table.columns, table.here], [["head 4", "head 7"], { row: 0, column: 1 }]);
  assert.deepEqual(galleryTable({ ...scene, hideInGallery: true }).rows[0].cells, ["c 0.12", "c 0.62"]);
});

test("the attention view says the strongest key or the one that is pointed at, and what is hidden", () => {
  const words = ["a", "b", "c"];
  // Causal rows of 1, 2 and 3 keys.
  const chosen = { size: 3, keys: 3, causal: true, limit: 0, weights: Float32Array.from([1, 0.75, 0.25, 0.5, 0.2, 0.3]), exact: true };
  const matrix = { chosen, scale: 1, words, keyWords: words, position: 2, hideFirst: false, hover: null, pair: null };
  const data = { causal: true, unit: "", prompt_visible: words, heads: [4, 7], kv_heads: [2, 3], grouped: true };
  const scene = {
    data, how: "head", here: { layer: 5, head: 7 }, headNote: [5, 4, "copies"], wanted: [5, 3], held: new Map([[5, 0]]), hideFirst: false, matrix,
  };
  const seen = (changes) => readoutText({ ...scene, ...changes, matrix: { ...matrix, ...changes } });
  assert.equal(seen({}), "strongest: “c” → “a” 0.500");
  assert.equal(seen({ hover: { query: 1, key: 1 } }), "“b” → “b” 0.250");
  assert.equal(seen({ hideFirst: true }), "strongest: “c” → “c” 0.300 · hidden on the first token: 0.500");
  assert.equal(seen({ hideFirst: true, position: 0 }), "The first query sees only the first token, which is hidden.");
  assert.equal(seen({ chosen: { ...chosen, exact: false }, hover: { query: 2, key: 1 } }), "“c” → “b” ≈ 0.20");
  assert.equal(seen({ chosen: null }), "");
  assert.deepEqual(matrixTitle(scene), { what: "layer 5 · head 7", facts: [" (kv head 3)", " · from “c”"] });
  assert.deepEqual(matrixTitle({ ...scene, headNote: [5, 7, "copies"] }).facts[0], " · copies");
  assert.equal(matrixTitle({ ...scene, how: "mean" }).what, "mean of layer 5, all heads");
});

test("keys choose a query of a matrix and point at a key, and stop at its ends", () => {
  const at = { query: 3, key: 1, queries: 5, keys: 4 };
  assert.deepEqual(movedPointer("ArrowDown", at), { query: 4 });
  assert.deepEqual(movedPointer("ArrowDown", { ...at, query: 4 }), { query: 4 });
  assert.deepEqual(movedPointer("PageUp", at), { query: 0 });
  assert.deepEqual(movedPointer("ArrowLeft", at), { key: 0 });
  assert.deepEqual(movedPointer("ArrowLeft", { ...at, key: 0 }), { key: 0 });
  assert.deepEqual(movedPointer("End", at), { key: 3 });
  assert.equal(movedPointer("x", at), null);
  assert.equal(strongest([0.1, 0.4, 0.4]), 1);
});

test("in a comparison, keys pass by what the first prompt has not", () => {
  assert.equal(stepQuery([0, 1, -1, 2, 3], 1, 1), 3);
  assert.equal(stepQuery([0, 1, -1, 2, 3], 3, -1), 1);
  assert.equal(stepQuery([0, 1, -1, 2, 3], 4, 1), 4);
  const data = { places_a: [0, -1], a: { data: [0.5, NaN, 0.25, NaN] }, b: { data: [0.5, NaN, NaN, NaN] } };
  assert.deepEqual([pairCell(data, 1, 0), pairCell(data, 0, 1)], ["A 0.250, B NaN".replace("NaN", "no token"), ""]);
});

test("a tip stands below what it is about, above it at the window's foot, and inside the window", () => {
  const [tip, window] = [{ width: 100, height: 20 }, { width: 400, height: 300 }];
  assert.deepEqual(tipPlace({ left: 10, top: 50, bottom: 70 }, tip, window), { left: 10, top: 74 });
  assert.deepEqual(tipPlace({ left: 10, top: 260, bottom: 290 }, tip, window), { left: 10, top: 236 });
  assert.equal(tipPlace({ left: 390, top: 50, bottom: 70 }, tip, window).left, 296);
});

test("what is to be drawn in the next frame can be drawn at once, and then once only", () => {
  const [frames, drawn] = [new Map(), []];
  const kept = [globalThis.requestAnimationFrame, globalThis.cancelAnimationFrame];
  globalThis.requestAnimationFrame = (run) => frames.set(frames.size + 1, run).size;
  globalThis.cancelAnimationFrame = (frame) => frames.delete(frame);
  const draw = onFrame(() => drawn.push("drawn"));
  draw.now();
  assert.equal(drawn.length, 0);
  draw();
  draw.now();
  draw.now();
  frames.forEach((run) => run());
  assert.equal(drawn.length, 1);
  [globalThis.requestAnimationFrame, globalThis.cancelAnimationFrame] = kept;
});

test("a group has one thing in common until its last view is gone", () => {
  const model = () => ({ get: () => "common", set() {}, on() {}, off() {}, save_changes() {} });
  const [one, other] = [shareTraits(model(), []), shareTraits(model(), [])];
  one.common().voice = "here";
  assert.equal(other.common().voice, "here");
  one.close();
  other.close();
  const later = shareTraits(model(), []);
  assert.equal(later.common().voice, undefined);
  later.close();
});

// Colours: as eyes see them that lack one kind of cones (Machado, Oliveira and Fernandes 2009, severity 1).

const EYES = {
  all: [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
  protanopia: [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
  deuteranopia: [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
  tritanopia: [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
};
const TO_XYZ = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]];
const times = (matrix, vector) => matrix.map((row) => row.reduce((sum, each, place) => sum + each * vector[place], 0));

/** CIE L*a*b* of an sRGB colour through an eye. */
function lab(colour, eye) {
  const light = colour.map((channel) => (channel / 255 <= 0.04045 ? channel / 255 / 12.92 : ((channel / 255 + 0.055) / 1.055) ** 2.4));
  const seen = times(EYES[eye], light).map((channel) => Math.min(1, Math.max(0, channel)));
  const [x, y, z] = times(TO_XYZ, seen).map((value, place) => value / [0.9505, 1, 1.089][place])
    .map((value) => (value > 216 / 24389 ? Math.cbrt(value) : (value * 24389 / 27 + 16) / 116));
  return [116 * y - 16, 500 * (x - y), 200 * (y - z)];
}

const apart = (a, b) => Math.hypot(...a.map((value, place) => value - b[place]));

/** The ramps as views read them from a page of that ground. */
function palette(ground) {
  globalThis.getComputedStyle = () => ({ backgroundColor: ground, color: "rgb(0, 0, 0)", fontFamily: "x", getPropertyValue: () => "" });
  const read = readPalette({});
  delete globalThis.getComputedStyle;
  return read;
}

const GROUNDS = { light: "rgb(255, 255, 255)", dark: "rgb(17, 17, 17)", black: "rgb(0, 0, 0)" };

for (const [theme, ground] of Object.entries(GROUNDS)) {
  const { ramp, above, below } = palette(ground);
  for (const eye of Object.keys(EYES)) {
    test(`${theme}, ${eye}: lightness goes one way along each ramp, all the way`, () => {
      for (const colours of [ramp, above.ramp, below.ramp]) {
        const lightness = colours.map((colour) => lab(colour, eye)[0]);
        const way = Math.sign(lightness.at(-1) - lightness[0]);
        lightness.slice(1).forEach((value, place) => assert.ok(way * (value - lightness[place]) > -0.6, `${place}: ${lightness[place]} -> ${value}`));
        // Steps may be lost in rounding to 8 bits, but not eight of them in a row.
        for (let place = 8; place < 256; place += 8) assert.ok(way * (lightness[place] - lightness[place - 8]) > 0, `${place - 8} to ${place}`);
        assert.ok(Math.abs(lightness.at(-1) - lightness[0]) > 40);
      }
    });
    test(`${theme}, ${eye}: above zero and below it are told apart at a quarter of the scale, at half, and at its end`, () => {
      const between = [64, 128, 255].map((place) => apart(lab(above.ramp[place], eye), lab(below.ramp[place], eye)));
      assert.ok(between[0] > 12 && between[1] > 20 && between[2] > 25, String(between));
    });
  }
}

const TRAITS = readFileSync(new URL("../../layerwidget/widgets/traits.py", import.meta.url), "utf8");
const PINS = /PIN_COLOURS = \((.*)\)/.exec(TRAITS)[1].match(/#\w{6}/g).map((text) => [1, 3, 5].map((place) => parseInt(text.slice(place, place + 2), 16)));

for (const eye of Object.keys(EYES)) {
  test(`${eye}: pinned words are told apart from each other`, () => {
    assert.equal(PINS.length, 5);
    PINS.forEach((pin, place) => PINS.slice(place + 1).forEach((other) => {
      const between = apart(lab(pin, eye), lab(other, eye));
      assert.ok(between > 15, `${pin} and ${other}: ${between}`);
    }));
  });
}

test("what the check of the colours is worth: red against green does not pass it", () => {
  const [red, green] = [[214, 39, 40], [140, 120, 0]].map((colour) => lab(colour, "deuteranopia"));
  assert.ok(apart(red, green) < 30);
  const rainbow = makeRamp([255, 255, 255], ["#0000ff", "#00ff00", "#ff0000"]).map((colour) => lab(colour, "all")[0]);
  assert.ok(rainbow.some((value, place) => place && value - rainbow[place - 1] > 0.6));
  assert.equal(signedRamps([255, 255, 255], false).above.length, 256);
});

test("a page that nobody answers says what ≈ means, and what is exact", () => {
  assert.equal(approximateNote("2.3"), "≈: read from the gallery's colours; exact for layer 2 head 3 only");
  assert.equal(approximateNote("mean.0-5"), "≈: read from the gallery's colours; exact for the mean of layers 0-5 only");
  assert.equal(approximateNote(""), "≈: read from the gallery's colours");
  assert.equal(approximateNote("max.all"), "≈: read from the gallery's colours; exact for the max of all layers only");
  assert.equal(approximateNote("", true), "≈: read from the gallery's colours; exact for single heads only");
  assert.equal(approximateNote(undefined), "≈: read from the gallery's colours");
});

test("curves have a table, cut around the chosen layer", () => {
  const table = { columns: ["cat"], rows: Array.from({ length: 60 }, (_, index) => [String(59 - index), `${index}`]) };
  const told = curveTable("Over layers", table, 29);
  assert.equal(told.caption, "Over layers · rows 19 to 42 of 60");
  assert.deepEqual(told.rows[told.here.row], { name: "29", cells: ["30"] });
  assert.equal(curveTable("Over layers", {}, 2), null);
  assert.equal(curveTable("Over layers", table, 60).here, null);
  assert.equal(curveTable("Over layers", table, 60).rows[0].name, "59");
});

test("curves of a page without a kernel have the same table", () => {
  const curves = [
    { name: "cat", layers: [0, 1, 3], values: [0.5, Number.NaN, 12] },
    { name: "cat", layers: [0, 1, 3], values: [0.25, 0, 0.125], say: (value) => value.toFixed(1) },
    { name: "", layers: [0, 1, 3], values: null },
  ];
  const told = linesTold(curves, "nats");
  // Two words that look alike have a column each.
  assert.deepEqual(told.columns, ["cat", "cat", "nats"]);
  assert.deepEqual(told.rows, [
    ["3", "12", "0.1", "not recorded here"],
    ["1", "–", "0.0", "not recorded here"],
    ["0", "0.500", "0.3", "not recorded here"],
  ]);
  const table = curveTable("Over layers", told, 3);
  assert.deepEqual(table.rows[table.here.row], { name: "3", cells: ["12", "0.1", "not recorded here"] });
  assert.equal(curveTable("Over layers", linesTold([], "nats"), 3), null);
});

test("bars of a picture have it, too", () => {
  const marks = [
    { layer: "2", name: "attention", value: "0.5" },
    { layer: "10", name: "attention", value: "-1.5" },
    { layer: "10", name: "FFN", value: "20" },
  ];
  assert.deepEqual(marksTold(marks, "share"), {
    columns: ["attention", "FFN"],
    rows: [["10", "-1.500", "20"], ["2", "0.500", "–"]],
  });
  assert.deepEqual(marksTold([{ layer: "0", value: "3" }], "nats"), { columns: ["nats"], rows: [["0", "3"]] });
});

test("the values of a figure are those of its curves, and keys go along one and over to the next", () => {
  const dots = [[0, "0.5"], [1, "2"], [3, "-1234.5678"]].map(([layer, value]) => ({ curve: "0", name: "cat", layer, value }));
  const curves = curvesOfMarks([
    ...dots, { curve: "1", name: "cat", layer: "4", value: "0.25", said: "0.250" }, { curve: "1", name: "cat", layer: "1", value: "0.125" },
    { layer: "3", value: "7.5" },
  ]);
  assert.deepEqual(curves.map(({ points }) => points.map(({ layer }) => layer)), [[0, 1, 3], [1, 4], [3]]);
  assert.equal(valuesOfLayer(curves, 1), "cat 2 · cat 0.125");
  assert.equal(valuesOfLayer(curves, 3), "cat -1234.568 · 7.500");
  assert.equal(valuesOfLayer(curves, 2), "");
  const walk = (from, ...keys) => keys.reduce((at, key) => movedPoint(key, at, curves), from);
  const first = { curve: 0, layer: 0 };
  assert.deepEqual(walk(first, "ArrowRight", "ArrowRight"), { curve: 0, layer: 3 });
  assert.deepEqual(walk(first, "End", "ArrowRight"), { curve: 0, layer: 3 });
  assert.deepEqual(walk(first, "End", "ArrowLeft", "ArrowLeft", "ArrowLeft"), first);
  // Where the next curve has no value at that layer, it is the nearest; above the first and below the last is nothing.
  assert.deepEqual(walk(first, "End", "ArrowDown"), { curve: 1, layer: 4 });
  assert.deepEqual(walk(first, "ArrowDown", "ArrowDown", "ArrowDown"), { curve: 2, layer: 3 });
  assert.deepEqual(walk({ curve: 1, layer: 4 }, "Home", "ArrowUp", "ArrowUp"), { curve: 0, layer: 1 });
  assert.equal(movedPoint("PageDown", first, curves), null);
  assert.deepEqual(pointNear(curves, { curve: 5, layer: 9 }), { curve: 2, layer: 3 });
  assert.equal(pointNear([], first), null);
});

test("bars of a layer are curves by their names, and a ring stands around what is pointed at", () => {
  const bars = [["0", "attention", "1"], ["0", "FFN", "-0.5"], ["1", "attention", "0.25"], ["1", "FFN", "3"]];
  const curves = curvesOfMarks(bars.map(([layer, name, value]) => ({ layer, name, value })));
  assert.deepEqual(curves.map(({ name, points }) => [name, points.map(({ said }) => said)]), [["attention", ["1.000", "0.250"]], ["FFN", ["-0.500", "3"]]]);
  const node = (tagName, attributes) => ({ tagName, getAttribute: (name) => attributes[name] ?? null });
  const axes = { x0: 10, step: 20 };
  const heightAt = (value) => 100 - value;
  const box = (tagName, attributes) => ringBox({ node: node(tagName, attributes), layer: 2, value: "40" }, axes, heightAt);
  assert.deepEqual(box("rect", { x: "1", y: "2", width: "3", height: "4" }), [1, 2, 3, 4]);
  assert.deepEqual(box("circle", { cx: "7", cy: "8", r: "2.5" }), [4.5, 5.5, 5, 5]);
  assert.deepEqual(box("path", {}), [48, 58, 4, 4]);
  assert.deepEqual(ringAround([1, 2, 3, 4]), { x: "-2.00", y: "-1.00", width: "9.00", height: "10.00", rx: 5 });
});

test("a view waits for the style sheet that it shares, and is drawn without one, too", async () => {
  const order = [];
  const plain = { initialize: "kept", render: async ({ name }) => { order.push(`drawn ${name}`); return "ended"; } };
  // Most modules make a view for each widget, some are one.
  const view = await styled(() => plain)();
  assert.equal(view.initialize, "kept");
  assert.equal((await styled(plain)()).initialize, "kept");
  let come;
  const asked = [];
  const widget_manager = { get_model: (id) => { asked.push(id); return new Promise((resolve, reject) => { come = { resolve, reject }; }); } };
  const model = (sheet, manager) => ({ get: (name) => (name === "_sheet" ? sheet : null), widget_manager: manager });
  for (const answer of ["resolve", "reject"]) {
    const drawn = view.render({ name: answer, model: model("IPY_MODEL_7", widget_manager) });
    await Promise.resolve();
    order.push("sheet");
    come[answer]();
    assert.equal(await drawn, "ended");
  }
  assert.deepEqual(asked, ["7", "7"]);
  await view.render({ name: "alone", model: model(null, widget_manager) });
  await view.render({ name: "unmanaged", model: model("IPY_MODEL_7") });
  assert.deepEqual(order, ["sheet", "drawn resolve", "sheet", "drawn reject", "drawn alone", "drawn unmanaged"]);
});

test("a table of curves is gone along from its first layer on, and what has no value is no place", () => {
  const curves = curvesOfTable({
    columns: ["attention", "FFN", "nothing"],
    rows: [["3", "1.5", "–", "–"], ["2", "0", "2", "–"], ["1", "–", "-1", "–"]],
    heights: [[1.5, null, null], [0, 2, null], [null, -1, null]],
  });
  assert.deepEqual(curves.map(({ name }) => name), ["attention", "FFN"]);
  assert.deepEqual(curves[0].points, [{ layer: 2, said: "0", height: 0 }, { layer: 3, said: "1.5", height: 1.5 }]);
  assert.deepEqual(curves[1].points.map(({ layer }) => layer), [1, 2]);
  assert.deepEqual(movedPoint("ArrowDown", pointNear(curves, { curve: 0, layer: 3 }), curves), { curve: 1, layer: 2 });
  assert.deepEqual(curvesOfTable({}), []);
});
