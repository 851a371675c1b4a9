// A view of layers by columns: one grid with its pointer, its keys, its voice and its table.

import { openView } from "./drawn_view.js";
import { makeLayerGrid, movedCell } from "./layer_grid.js";
import { layerNumbers } from "./rows.js";
import { layerTable, makeTwin } from "./table_twin.js";
import { makeVoice } from "./voice.js";

/**
 * Opens a view whose rows are layers; see `openView` for what else its parts can have.
 *
 * @param host `{model, el, store, shared}` of the view.
 * @param page its nodes: `canvas`, `spacer` and `scroll` of the grid, and `empty`.
 * @param {{
 *   paint: (context, scene, size, each) => void,
 *   column: (data) => number,
 *   scene: (data, looks) => object,
 *   show: (scene) => void,
 *   layout?: (scene) => void,
 *   table: (scene) => [string, (cell) => string],
 *   said: () => string,
 *   choose: (cell, scene) => void,
 *   target?: (cell, scene) => object | null,
 * }} parts
 *   `paint` draws the cells. `scene` adds to what every layer grid draws, `labels` among it; `layout` is told before
 *   the grid is drawn and `show` afterwards. `table` gives title and cells of its twin, `said` the words of the chosen
 *   cell. `target` turns the cell that a key leads to into one that can be chosen.
 * @returns what `openView` returns, with its `grid`.
 */
export function openLayerView(host, page, parts) {
  const { el, shared, store } = host;
  const { choose, said, target = (cell) => cell } = parts;
  const { scroll } = page;
  const grid = makeLayerGrid(page, parts.paint);
  const voice = makeVoice(shared, el, { news: said });
  let revealed = null;
  let revealing = false;
  const revealNext = () => { revealing = true; };
  const inSight = () => !view.scene() || grid.sees(view.scene().here);

  const view = openView(host, {
    ...parts,
    empty: page.empty,
    // Not of the whole view: what is beside a grid can leave it less room while the whole is as wide as before.
    room: scroll.parentElement,
    scene(data, looks) {
      const held = new Map(data.layers.map((layer, row) => [layer, row]));
      const layer = shared.get("layer");
      return {
        data, held, ...looks,
        rows: layerNumbers(shared.get("layers")).filter((one) => held.has(one)).reverse(),
        here: { layer: held.has(layer) ? layer : data.layers.at(-1), column: parts.column(data) },
        ...parts.scene(data, looks),
      };
    },
    show(scene) {
      parts.layout?.(scene);
      grid.draw(scene, revealing);
      revealing = false;
      parts.show(scene);
      twin.changed();
    },
    heard(name) {
      if (parts.heard?.(name)) return true;
      if ((parts.columnNames ?? ["position"]).includes(name)) revealNext();
      return false;
    },
    came() {
      parts.came?.();
      // The rest of an answer must not take a reader back who has scrolled away meanwhile.
      if (store.data?.prompt !== revealed || inSight()) revealNext();
      revealed = store.data?.prompt;
    },
    resized() {
      // A place that was in sight stays there when there is less room.
      if (inSight()) revealNext();
    },
  });
  const twin = makeTwin(scroll, () => {
    const scene = view.scene();
    if (!scene) return null;
    const [title, say] = parts.table(scene);
    return layerTable(title, scene, grid.visibleColumns(), say);
  });

  scroll.addEventListener("pointermove", (event) => view.point(grid.at(event)));
  scroll.addEventListener("pointerleave", () => view.point(null));
  scroll.addEventListener("scroll", () => { if (grid.isScrolled()) view.draw(); });
  scroll.addEventListener("click", (event) => {
    const cell = view.scene() && grid.at(event);
    if (cell) choose(cell, view.scene());
  });
  scroll.addEventListener("keydown", (event) => {
    // A key that comes before the next frame starts from where the last one led.
    view.draw.now();
    const scene = view.scene();
    const moved = scene && movedCell(event.key, scene.here, scene.rows, scene.labels.length);
    const cell = moved && target(moved, scene);
    if (!cell) return;
    event.preventDefault();
    event.stopPropagation();
    choose(cell, scene);
    grid.reveal(cell);
    voice.say(said);
  });
  return {
    ...view,
    grid,
    close() {
      twin.close();
      voice.close();
      view.close();
    },
  };
}
