import { shareTraits } from "./bus.js";
import { readPalette, shade } from "./colour.js";
import { KEYS, choice, element, fitText, onFrame, sizedContext, watchLook } from "./dom.js";
import { makeTopPanel } from "./lens_panel.js";
import { LENS_COLOURS, lensLegend } from "./lens_colours.js";
import { layerNumbers, layersTitle, rowHeight } from "./rows.js";
import { GRID_HEIGHT } from "./rows.js";
import { isStale, openStore } from "./store.js";

const GUTTER = 26;
const FOOT = 22;
const COLUMN_WIDTHS = [68, 52, 36];

/** Column width: the widest step at which all columns fit, else the narrowest, which scrolls. */
export function columnWidth(count, room) {
  return COLUMN_WIDTHS.find((width) => width * count <= room) ?? COLUMN_WIDTHS.at(-1);
}

/** One leading space is left out inside a cell, where there is no room for it; the panel shows it. */
export function cellWord(visible) {
  return visible.length > 1 && visible[0] === "␣" && visible[1] !== "␣" ? visible.slice(1) : visible;
}

export default () => {
  let store;
  return {
    initialize({ model }) {
      store = openStore(model);
      return () => store.close();
    },
    render({ model, el }) {
      const shared = shareTraits(model, ["layers", "layer", "position", "token", "tokens", "colour"]);
      const canvas = element("canvas", {});
      const spacer = element("div", { class: "lw-spacer" }, canvas);
      const scroll = element("div", {
        ...KEYS, class: "lw-scroll", tabindex: 0, role: "group",
        "aria-label": "Logit lens grid: arrow keys move the selected cell, Enter pins its first word",
        style: `height:${GRID_HEIGHT + FOOT + 2}px`,
      }, spacer);
      const detail = element("span", { class: "lw-detail" });
      const legend = element("span", { class: "lw-legend" });
      const colours = choice("Colour of the cells", Object.entries(LENS_COLOURS).map(([key, mode]) => [key, mode.name]),
        shared.get("colour"), (colour) => shared.set({ colour }));
      const panel = makeTopPanel(shared, model.get("pin_colours"));
      const empty = element("div", { class: "lw-placeholder" }, "Type a prompt, and every layer's prediction appears here.");
      el.classList.add("lw", "lw-lens");
      el.append(
        element("div", { class: "lw-bar" }, element("span", { class: "lw-title" }, model.get("title")), detail, legend, colours),
        element("div", { class: "lw-lens-body" }, element("div", { class: "lw-lens-grid" }, scroll, empty), panel.node));

      let palette = null;
      let hover = null;
      let geometry = null;

      const layout = () => {
        const { data } = store;
        if (!data?.layers.length) return null;
        const wanted = layerNumbers(shared.get("layers"));
        const held = new Map(data.layers.map((layer, row) => [layer, row]));
        const rows = wanted.filter((layer) => held.has(layer)).reverse();
        const width = scroll.clientWidth;
        const column = columnWidth(data.n_pos, width - GUTTER);
        return { data, held, rows, column, width, row: rowHeight(rows.length), columns: data.n_pos };
      };
      const draw = onFrame(() => {
        geometry = layout();
        empty.hidden = Boolean(geometry);
        spacer.hidden = !geometry;
        el.classList.toggle("lw-blank", !geometry);
        el.classList.toggle("lw-stale", Boolean(geometry) && isStale(shared, geometry.data));
        if (!geometry) {
          detail.textContent = "";
          panel.show(null);
          return;
        }
        palette = readPalette(el, palette);
        paint(geometry);
        showDetail(geometry);
        panel.show(geometry.data, hover ?? selected(geometry), Boolean(hover));
        el.dataset.revision = geometry.data.revision;
        el.dataset.prompt = geometry.data.prompt;
        el.classList.add("lw-ready");
      });
      const selected = ({ data, held }) => {
        const layer = held.has(shared.get("layer")) ? shared.get("layer") : data.layers.at(-1);
        return { layer, row: held.get(layer), position: Math.min(shared.get("position"), data.n_pos - 1) };
      };
      const showDetail = ({ data, rows }) => {
        const mode = LENS_COLOURS[shared.get("colour")];
        detail.textContent = ` · ${data.component === "resid_post" ? "" : `${data.component} · `}${layersTitle([...rows].reverse())} · last layer on top`;
        legend.replaceChildren(...lensLegend(mode, data, palette, shared.get("token")));
      };
      const paint = ({ data, held, rows, column, row, columns, width }) => {
        const bodyHeight = Math.round(rows.length * row);
        spacer.style.width = `${GUTTER + columns * column + 2}px`;
        spacer.style.height = `${bodyHeight + FOOT}px`;
        const height = scroll.clientHeight;
        const context = sizedContext(canvas, width, Math.min(height, bodyHeight + FOOT));
        const [left, top] = [scroll.scrollLeft, scroll.scrollTop];
        const foot = Math.min(height - FOOT, bodyHeight);
        const [firstColumn, lastColumn] = [Math.floor(left / column), Math.min(columns, Math.ceil((left + width - GUTTER) / column))];
        const [firstRow, lastRow] = [Math.floor(top / row), Math.min(rows.length, Math.ceil((top + foot) / row))];
        const mode = LENS_COLOURS[shared.get("colour")];
        const token = data.tokens.indexOf(shared.get("token"));
        const size = Math.max(9, Math.min(column < 50 ? 11 : 12, row - 3));
        context.textBaseline = "middle";
        context.textAlign = "center";
        context.save();
        context.beginPath();
        context.rect(GUTTER, 0, width, foot);
        context.clip();
        context.font = `${size}px ${palette.font}`;
        for (let r = firstRow; r < lastRow; r += 1) {
          const y = Math.round(r * row) - top;
          const h = Math.round((r + 1) * row) - top - y;
          for (let c = firstColumn; c < lastColumn; c += 1) {
            const cell = held.get(rows[r]) * columns + c;
            const x = GUTTER + c * column - left;
            const tint = shade(mode.share(data, cell, token));
            context.fillStyle = palette.fills[tint];
            context.fillRect(x, y, column - 1, h - (h > 16 ? 1 : 0));
            const word = mode.text?.(data, cell, token) ?? cellWord(data.pieces[data.top_ids.data[cell * data.k]].visible);
            context.fillStyle = palette.inks[tint];
            context.fillText(fitText(context, word, column - 3), x + (column - 1) / 2, y + h / 2 + 0.5);
          }
        }
        outline(context, geometry, left, top);
        context.restore();
        labels(context, { data, rows, row, column, firstRow, lastRow, firstColumn, lastColumn, left, top, foot, width });
      };
      const outline = (context, { rows, row, column }, left, top) => {
        const box = (cell, colour, thick) => {
          const r = rows.indexOf(cell.layer);
          if (r < 0) return;
          const y = Math.round(r * row) - top;
          context.strokeStyle = colour;
          context.lineWidth = thick;
          context.strokeRect(GUTTER + cell.position * column - left + thick / 2 - 0.5, y + thick / 2, column - thick, Math.round((r + 1) * row) - top - y - thick);
        };
        if (hover) box(hover, palette.muted, 1);
        box(selected(geometry), palette.accent, 2);
      };
      const labels = (context, { data, rows, row, column, firstRow, lastRow, firstColumn, lastColumn, left, top, foot, width }) => {
        const here = selected(geometry);
        context.font = `11px ${palette.font}`;
        context.textAlign = "right";
        for (let r = firstRow; r < lastRow; r += 1) {
          const y = (r + 0.5) * row - top + 0.5;
          if (y > foot) break;
          context.fillStyle = rows[r] === here.layer ? palette.accent : palette.muted;
          context.fillText(rows[r], GUTTER - 6, y);
        }
        context.textAlign = "center";
        context.save();
        context.beginPath();
        context.rect(GUTTER - 2, foot, width, FOOT);
        context.clip();
        context.font = `11px ${palette.mono}`;
        for (let c = firstColumn; c < lastColumn; c += 1) {
          context.fillStyle = c === here.position ? palette.accent : palette.muted;
          context.fillText(fitText(context, data.prompt_visible[c], column - 3), GUTTER + (c + 0.5) * column - left, foot + FOOT / 2 + 1);
        }
        context.restore();
      };

      const cellAt = (event) => {
        if (!geometry) return null;
        const box = scroll.getBoundingClientRect();
        const x = event.clientX - box.left - GUTTER + scroll.scrollLeft;
        const y = event.clientY - box.top + scroll.scrollTop;
        const position = Math.floor(x / geometry.column);
        const r = Math.floor(y / geometry.row);
        const inside = x >= 0 && position < geometry.columns && r >= 0 && r < geometry.rows.length && event.clientX - box.left >= GUTTER;
        return inside ? { layer: geometry.rows[r], row: geometry.held.get(geometry.rows[r]), position } : null;
      };
      const enter = (cell) => {
        if (cell?.layer === hover?.layer && cell?.position === hover?.position) return;
        hover = cell;
        draw();
      };
      scroll.addEventListener("pointermove", (event) => enter(cellAt(event)));
      scroll.addEventListener("pointerleave", () => enter(null));
      scroll.addEventListener("scroll", draw);
      scroll.addEventListener("click", (event) => {
        const cell = cellAt(event);
        if (cell) shared.set({ layer: cell.layer, position: cell.position });
      });
      scroll.addEventListener("keydown", (event) => {
        if (!geometry) return;
        const here = selected(geometry);
        const r = geometry.rows.indexOf(here.layer);
        const target = {
          ArrowLeft: [r, here.position - 1], ArrowRight: [r, here.position + 1], ArrowUp: [r - 1, here.position],
          ArrowDown: [r + 1, here.position], Home: [r, 0], End: [r, geometry.columns - 1],
          PageUp: [0, here.position], PageDown: [geometry.rows.length - 1, here.position],
        }[event.key];
        if (event.key === "Enter") panel.pin(geometry.data.pieces[geometry.data.top_ids.data[(here.row * geometry.columns + here.position) * geometry.data.k]].id);
        else if (!target) return;
        event.preventDefault();
        event.stopPropagation();
        if (!target) return;
        const row = Math.min(geometry.rows.length - 1, Math.max(0, target[0]));
        const position = Math.min(geometry.columns - 1, Math.max(0, target[1]));
        shared.set({ layer: geometry.rows[row], position });
        reveal(row, position);
      });
      const reveal = (row, position) => {
        if (!geometry) return;
        const [x, y] = [position * geometry.column, row * geometry.row];
        const room = scroll.clientWidth - GUTTER;
        if (x < scroll.scrollLeft) scroll.scrollLeft = x;
        else if (x + geometry.column > scroll.scrollLeft + room) scroll.scrollLeft = x + geometry.column - room;
        if (y < scroll.scrollTop) scroll.scrollTop = y;
        else if (y + geometry.row > scroll.scrollTop + GRID_HEIGHT) scroll.scrollTop = y + geometry.row - GRID_HEIGHT;
      };
      const onPosition = () => {
        draw();
        requestAnimationFrame(() => requestAnimationFrame(() => {
          if (geometry) reveal(Math.max(0, geometry.rows.indexOf(shared.get("layer"))), shared.get("position"));
        }));
      };
      const onColour = () => { colours.value = shared.get("colour"); draw(); };
      shared.listen((name) => ({ position: onPosition, colour: onColour })[name]?.() ?? draw());
      const off = [store.listen(() => { hover = null; onPosition(); }), watchLook(el, draw)];
      draw();
      return () => {
        off.forEach((stop) => stop());
        draw.cancel();
        shared.close();
      };
    },
  };
};
