// What went wrong, under the prompt: the message, and where it came from.

import { KEYS, element } from "./dom.js";

export default {
  render({ model, el }) {
    const message = element("div", { class: "lw-error-message", role: "alert" });
    const trace = element("pre", {});
    const details = element("details", {}, element("summary", { ...KEYS }, "full traceback"), trace);
    el.classList.add("lw", "lw-error");
    el.append(message, details);
    const draw = () => {
      el.hidden = !model.get("message");
      el.style.display = el.hidden ? "none" : "";
      message.textContent = model.get("message");
      trace.textContent = model.get("traceback");
      details.hidden = !model.get("traceback");
    };
    for (const name of ["message", "traceback"]) model.on(`change:${name}`, draw);
    draw();
    return () => { for (const name of ["message", "traceback"]) model.off(`change:${name}`, draw); };
  },
};
