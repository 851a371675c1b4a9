// What the model is, what was computed, and what went wrong.

import { shareTraits } from "./bus.js";
import { element, setText } from "./dom.js";
import { followFocus } from "./focus_tip.js";
import { makeVoice, newest } from "./voice.js";

/** What is computed sooner than this goes from `stale` to `fresh`: each change costs the page a frame, and the model time. */
const PATIENCE_MS = 350;
/** What takes less time than this needs no button to stop it. */
const STOPPABLE_MS = 700;
const WORDS = { empty: "waiting for a prompt", busy: "computing", fresh: "fresh", stale: "stale", stopped: "stopped", failed: "not computed", recorded: "recorded" };

export default {
  render({ model, el }) {
    const shared = shareTraits(model, []);
    const name = element("span", { class: "lw-model" });
    const facts = element("span", { class: "lw-tag" });
    const checked = element("button", { class: "lw-tag lw-good lw-checked", type: "button", "aria-expanded": "false",
      "data-lm-suppress-shortcuts": "true" });
    const report = element("pre", { class: "lw-report", tabindex: "0", "data-lm-suppress-shortcuts": "true" });
    report.hidden = true;
    const toggle = () => {
      report.hidden = !report.hidden || !model.get("report");
      checked.setAttribute("aria-expanded", String(!report.hidden));
    };
    checked.addEventListener("click", toggle);
    const [workDone, workMore] = [element("span"), element("span", { class: "lw-work-more" })];
    const work = element("span", { class: "lw-tag lw-work" }, workDone, workMore);
    const state = element("span", { class: "lw-state" });
    const stop = element("button", { class: "lw-button lw-stop", type: "button", title: "Stop computing",
      "data-lm-suppress-shortcuts": "true", onclick: () => model.send({ type: "stop" }) }, "■ stop");
    const voice = makeVoice(shared, el);
    const unfollow = followFocus(el, ".lw-explorer");
    let told = "";
    let patience = null;
    const offer = (busy) => {
      if (busy && patience === null) patience = setTimeout(() => stop.classList.add("lw-shown"), STOPPABLE_MS);
      if (busy) return;
      clearTimeout(patience);
      patience = null;
      // The page must not take the keyboard over when the button goes.
      if (stop === document.activeElement) checked.focus();
      stop.classList.remove("lw-shown");
    };
    let writing = null;
    const write = (now) => {
      clearTimeout(writing);
      writing = null;
      setText(state, WORDS[now] ?? now);
      state.dataset.state = now;
    };
    const say = (now) => {
      if (now !== "busy" || state.dataset.state !== "stale") write(now);
      else writing ??= setTimeout(() => write(now), PATIENCE_MS);
    };
    el.classList.add("lw", "lw-status");
    el.append(element("div", { class: "lw-line" }, name, facts, checked, element("span", { class: "lw-gap" }), work, stop, state), report);
    /** With the state: why there is nothing, or what there is. */
    const said = () => ({ failed: work.textContent, fresh: newest(shared.common()) })[state.dataset.state];
    const draw = () => {
      const typed = shared.get("prompt"); // what the box holds
      const kernelState = model.get("state");
      const behind = typed !== undefined && typed !== model.get("prompt") && kernelState === "fresh";
      const now = behind ? "stale" : kernelState;
      setText(name, model.get("model_name"));
      setText(facts, model.get("facts"));
      setText(checked, `${model.get("failing") ? "✗" : "✓"} ${model.get("checked")}`);
      checked.classList.toggle("lw-bad", model.get("failing"));
      checked.classList.toggle("lw-good", !model.get("failing"));
      checked.hidden = !model.get("checked");
      checked.title = model.get("report") ? "What was measured: click for the figures" : "";
      setText(report, model.get("report"));
      // What is in brackets at its end is said where there is room for it.
      const [, done, more] = now === "failed" ? ["", model.get("work"), ""] : /^(.*?)( \([^()]*\))?$/s.exec(model.get("work"));
      setText(workDone, done);
      setText(workMore, more ?? "");
      work.title = model.get("work");
      work.hidden = !model.get("work");
      say(now);
      // Not at every key: what is answered at once has not been waited for.
      if (told !== now) voice.say(() => [state.textContent, said()].filter(Boolean).join(": "), { slot: "state", rest: STOPPABLE_MS });
      told = now;
      offer(kernelState === "busy");
      work.classList.toggle("lw-bad", now === "failed");
    };
    shared.listen((changed) => { if (changed === "prompt") draw(); });
    const names = ["model_name", "facts", "checked", "failing", "report", "work", "state", "prompt"];
    for (const trait of names) model.on(`change:${trait}`, draw);
    draw();
    return () => {
      clearTimeout(writing);
      offer(false);
      unfollow();
      voice.close();
      checked.removeEventListener("click", toggle);
      shared.close();
      for (const trait of names) model.off(`change:${trait}`, draw);
    };
  },
};
