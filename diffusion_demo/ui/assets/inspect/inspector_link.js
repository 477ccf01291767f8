// The link to what is shown.
function address(base) {
  const url = new URL(base), { T, seed, example } = data;
  // Before the first answer, the model and the number of its steps are those that the address names.
  const asked = new URLSearchParams(location.search), panel = answer(), own = chosen().name === state.own;
  const model = panel ? panel.dataset.model : asked.get("model"), steps = state.ownSteps ?? (asked.has("T") ? null : T);
  const says = { tab: "inspect", lesson: state.lesson, example, model: model || null, schedule: own ? null : chosen().name, t: state.t, T: T === steps ? null : T, noise: seed || null };
  for (const [name, value] of Object.entries(says)) value === null ? url.searchParams.delete(name) : url.searchParams.set(name, value);
  return url.href;
}

function showLink() {
  const url = address(location.origin + location.pathname);
  find(".link").href = url;
  find(".link").textContent = "Link to this view" + (data.example ? "" : " (your image isn't included)");
  find(".copied").textContent = "";
}

function showAddress() {
  history.replaceState(history.state, "", address(location.href));
}

// An answer tells which model it is of. On another tab, or before anything was chosen here, the address stays as it is.
function addModel() {
  const asked = new URLSearchParams(location.search);
  if (asked.get("tab") === "inspect" && (asked.get("model") || "") !== answer().dataset.model) showAddress();
}

function release() {
  showAddress();
  showLink();
  if (!answer() || !isTrue(answer())) {
    isComputing = false; // a change ends it
    markBusy(); // what is true already, the server does not compute again
  }
  element.closest("#inspector").shown = { t: state.t / data.T, lesson: state.lesson };
  trigger("release");
}

async function copyLink() {
  const link = find(".link");
  try {
    await navigator.clipboard.writeText(link.href);
    find(".copied").textContent = "Copied.";
  } catch {
    find(".copied").textContent = "Your browser blocked copying. Right-click the link to copy it.";
  }
}
