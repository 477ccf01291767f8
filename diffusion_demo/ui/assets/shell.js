// Runs once when the page is loaded: the open tab in the address, dropdowns that close when the focus leaves them, arrow
// keys for radio buttons and sliders, and one run of Variations at a time.
() => {
  const TABS = ["sample", "train", "inspect"];
  const button = (name) => document.querySelector(`#${name}-tab-button`);

  // Gradio makes the buttons later than it runs this, and makes them again when the window changes its size.
  const remember = () => {
    const open = TABS.find((name) => button(name) && button(name).getAttribute("aria-selected") === "true");
    const url = new URL(location.href);
    if (!open || (url.searchParams.get("tab") || "sample") === open) return;
    if (open === "sample") url.searchParams.delete("tab");
    else url.searchParams.set("tab", open);
    history.replaceState(history.state, "", url);
  };
  const start = (tries) => {
    const wanted = new URL(location.href).searchParams.get("tab"), target = TABS.includes(wanted) && button(wanted);
    if (!button("sample")) return tries && setTimeout(start, 50, tries - 1);
    if (target) target.click();
    const nav = button("sample").closest(".tab-wrapper");
    setTimeout(() => {
      remember();
      new MutationObserver(remember).observe(nav, { subtree: true, childList: true, attributes: true, attributeFilter: ["aria-selected"] });
    }, target ? 500 : 0);
  };
  start(400);

  // Gradio 6.31 opens a dropdown at any key that it does not know. Tab is one, which then leaves the list open behind it.
  document.addEventListener("keydown", (event) => {
    if (event.key === "Tab" && event.target.matches("[role=combobox]")) event.stopImmediatePropagation();
  }, true);
  // It also handles each key a moment late: an arrow key just before the focus leaves opens the list after that.
  new MutationObserver((changes) => {
    for (const { target } of changes) {
      const isLeftOpen = target.matches("[role=combobox][aria-expanded=true]") && target !== document.activeElement;
      if (isLeftOpen) target.dispatchEvent(new FocusEvent("blur"));
    }
  }).observe(document.body, { subtree: true, attributes: true, attributeFilter: ["aria-expanded"] });

  // Gradio 6.31 gives each radio button its own name, and a new one with new choices. With arrow keys, browsers move
  // only between radio buttons of the same name.
  const groupRadios = () => {
    for (const radio of document.querySelectorAll("label > input[type=radio]")) {
      const { name } = radio.closest("label").parentElement.querySelector("input[type=radio]");
      if (radio.name !== name) radio.name = name;
    }
  };
  document.addEventListener("focusin", groupRadios);
  document.addEventListener("keydown", groupRadios, true);

  // Gradio 6.31 fires `release` of a slider for the mouse only. Arrow keys move it, too.
  document.addEventListener("keyup", ({ key, target }) => {
    const isMove = target.matches("input[type=range]") && /^(Arrow|Page|Home|End)/.test(key);
    if (isMove) target.dispatchEvent(new PointerEvent("pointerup", { bubbles: true }));
  });

  // Both modes of Variations share a stage and a Stop button, so one must end before the other can start.
  const lockVariations = () => {
    const stop = document.querySelector("#vary-way-tab .stops");
    for (const node of document.querySelectorAll("#vary-way, #vary, #blend")) node.inert = !!stop && !stop.disabled;
  };
  new MutationObserver(lockVariations).observe(document.body, { subtree: true, attributes: true, attributeFilter: ["disabled"] });
}
