// A button for what takes time: what it costs, how far it is, and a way to stop it.

import { shareTraits } from "./bus.js";
import { KEYS, element } from "./dom.js";
import { makeVoice } from "./voice.js";

const NAMES = ["label", "cost", "state", "done", "of", "message", "prompt"];

export default {
  render({ model, el }) {
    const shared = shareTraits(model, []);
    const run = element("button", { ...KEYS, class: "lw-button", type: "button", onclick: () => model.send({ type: "run" }) });
    const stop = element("button", { ...KEYS, class: "lw-button", type: "button", onclick: () => model.send({ type: "stop" }) }, "■ stop");
    const cost = element("span", { class: "lw-detail" });
    const bar = element("progress", { class: "lw-progress", max: 1, value: 0 });
    const message = element("span", { class: "lw-request-message" });
    const voice = makeVoice(shared, el);
    let said = "";
    el.classList.add("lw", "lw-request");
    el.append(run, stop, bar, message, cost);
    const draw = () => {
      const state = model.get("state");
      const busy = state === "waiting" || state === "running";
      const typed = shared.get("prompt");
      const about = model.get("prompt");
      run.textContent = state === "done" || state === "stopped" ? `${model.get("label")} again` : model.get("label");
      const focused = [run, stop].includes(document.activeElement);
      run.hidden = busy;
      run.disabled = state === "absent";
      stop.hidden = bar.hidden = !busy;
      // Whoever pressed one of them by key finds the other one in its place.
      if (focused) (busy ? stop : run).focus();
      bar.max = Math.max(1, model.get("of"));
      bar.value = state === "running" ? model.get("done") : 0;
      bar.setAttribute("aria-label", model.get("label"));
      cost.textContent = busy ? "" : model.get("cost");
      const old = !busy && state === "done" && about !== null && typed !== undefined && typed !== about;
      message.textContent = busy
        ? state === "waiting" ? "waiting" : `${model.get("done")} of ${model.get("of")}`
        : old ? "about an earlier prompt" : model.get("message");
      message.classList.toggle("lw-bad", state === "failed");
      message.classList.toggle("lw-hint", old);
      // What it costs and how far it is can be read; what it has come to is said.
      if (said && said !== state) voice.say(() => `${model.get("label")}: ${state === "running" ? "running" : message.textContent}`, { slot: model.get("label") });
      said = state;
      el.dataset.state = state;
    };
    shared.listen((changed) => { if (changed === "prompt") draw(); });
    for (const name of NAMES) model.on(`change:${name}`, draw);
    draw();
    return () => {
      voice.close();
      shared.close();
      for (const name of NAMES) model.off(`change:${name}`, draw);
    };
  },
};
