// The style sheet that all views of a notebook share stands in the page before the first of them is drawn.

/** A module's view, or what makes one, drawn once its sheet is there; one that names none brings it along. */
export function styled(module) {
  return async () => {
    const view = typeof module === "function" ? await module() : module;
    const render = async (context) => {
      const sheet = context.model.get("_sheet");
      try {
        // Some hosts make a widget only when it is asked for.
        if (sheet) await context.model.widget_manager?.get_model(sheet.replace("IPY_MODEL_", ""));
      } catch {
        // It went with the kernel: what was drawn before has left it in the page.
      }
      return view.render(context);
    };
    return { ...view, render };
  };
}
