// One row for each run, with its actions. A row is rebuilt only if its actions have changed, so that nobody loses a half-typed name.
const find = (selector) => element.querySelector(selector), rows = new Map();
const LABELS = { resume: "Continue", export: "Export", rename: "Rename", delete: "Delete", move_up: "Move up", remove: "Remove" };
const WAITING = { resume: "Continuing...", export: "Packing...", delete: "Deleting...", rename: "Renaming...", move_up: "Moving...", remove: "Removing..." };

const SURE = { delete: "Delete permanently", remove: "Remove from the queue" };

// The hidden button of an action takes the run, and a new name or a training time, from here.
function act(action, run, answer) {
  window.trainRow = { run: run || "", answer: answer || "" };
  document.querySelector("#train-row-" + action).click();
}

function button(text, title, onClick) {
  const made = document.createElement("button");
  Object.assign(made, { type: "button", textContent: text, title });
  made.setAttribute("aria-label", title);
  made.addEventListener("click", onClick);
  return made;
}

function actionButton(action, run, row) {
  const title = LABELS[action] + " " + run.name;
  const made = button(LABELS[action], title, () => {
    if (action === "rename") return askName(run, row);
    if (action === "resume") return askTime(run, row);
    if (SURE[action]) return confirm(run, row, action);
    wait(made, action);
    act(action, run.name);
  });
  made.className = action;
  return made;
}

// Says so until the row changes, or for ten seconds if the server refuses.
function wait(made, action) {
  const before = made.textContent;
  made.textContent = WAITING[action];
  made.disabled = true;
  setTimeout(() => { made.textContent = before; made.disabled = false; }, action === "export" ? 4000 : 10000);
}

function confirm(run, row, action) {
  const actions = row.querySelector(".actions"), before = [...actions.childNodes];
  const sure = button(SURE[action], SURE[action] + ": " + run.name, () => { wait(sure, action); act(action, run.name); });
  sure.className = "danger";
  const back = button("Cancel", "Keep " + run.name, () => { actions.replaceChildren(...before); actions.querySelector("." + action).focus(); });
  actions.replaceChildren(sure, back);
  back.focus();
}

// Replaces the buttons of a row by a field with a button that sends its value, and Cancel.
function ask(row, action, field, name, [text, title], [cancel, send]) {
  const actions = row.querySelector(".actions"), before = [...actions.childNodes];
  field.setAttribute("aria-label", name);
  const back = () => { actions.replaceChildren(...before); actions.querySelector("." + action).focus(); };
  const done = () => { back(); send(field.value); };
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter") { event.preventDefault(); done(); }
    if (event.key === "Escape") { event.stopPropagation(); back(); }
  });
  actions.replaceChildren(field, button(text, title, done), button("Cancel", cancel, back));
  field.focus();
}

function askName(run, row) {
  const input = Object.assign(document.createElement("input"), { type: "text", value: run.name, maxLength: 40 });
  ask(row, "rename", input, "New name of " + run.name, ["Save", "Save the new name"], ["Keep the name " + run.name, (answer) => {
    if (answer.trim() && answer.trim() !== run.name) act("rename", run.name, answer.trim());
  }]);
  input.select();
}

function askTime(run, row) {
  const select = document.createElement("select");
  select.append(...props.value.durations.map((text) => new Option(text)));
  ask(row, "resume", select, "Training time to add to " + run.name, [LABELS.resume, "Train " + run.name + " for this time"], [
    "Do not continue " + run.name, (answer) => { wait(row.querySelector(".resume"), "resume"); act("resume", run.name, answer); },
  ]);
}

function inWords(seconds) {
  return new Date(1000 * seconds).toLocaleString("en", { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
}

const keepUnit = (fact) => fact.replace(/(\d) (\S+)$/, "$1\u00a0$2"); // a line never ends between a number and its unit

function build(run) {
  const row = document.createElement("li");
  row.innerHTML = '<span class="head"><span class="label"></span><span class="facts"></span></span><span class="actions"></span>';
  const open = button(run.name, "Show " + run.name, () => {
    act("open", run.name);
    document.querySelector("#train-results").scrollIntoView({ block: "start" });
  });
  open.className = "open";
  row.querySelector(".head").prepend(open);
  row.querySelector(".actions").append(...run.actions.map((action) => actionButton(action, run, row)));
  return row;
}

function draw() {
  const value = props.value || {}, runs = value.runs || [], queue = value.queue || {};
  for (const name of rows.keys()) if (!runs.some((run) => run.name === name)) { rows.get(name).node.remove(); rows.delete(name); }
  runs.forEach((run, place) => {
    const mark = JSON.stringify([run.actions, run.state]);
    let row = rows.get(run.name);
    if (!row || row.mark !== mark) {
      const node = build(run);
      if (row) row.node.replaceWith(node);
      rows.set(run.name, (row = { node, mark }));
    }
    row.node.querySelector(".label").textContent = run.label;
    row.node.querySelector(".label").className = "label " + run.state;
    row.node.querySelector(".facts").textContent = [...(run.ended ? [inWords(run.ended)] : []), ...run.facts].map(keepUnit).join(" \u00b7 ");
    const list = find(".rows");
    if (list.children[place] !== row.node) list.insertBefore(row.node, list.children[place] || null);
  });
  find(".none").hidden = !value.runs || runs.length > 0; // nothing is known of the runs until the server has told
  find(".queue").hidden = !queue.waiting && !queue.paused;
  find(".queue .words").textContent = (queue.waiting === 1 ? "1 run queued" : (queue.waiting || 0) + " runs queued") + (queue.paused ? " (paused)." : ". One run trains at a time.");
  find(".pause").hidden = !queue.may_pause;
  find(".pause").textContent = queue.paused ? "Resume queue" : "Pause queue";
  find(".problem").hidden = !queue.problem;
  find(".problem").textContent = queue.problem || "";
}

// The first preview makes the page above the list longer. The list stays where it is while the pointer is over it, so that
// a click meets the button that was aimed at.
let place = null, pointer = null; // place: the list's offset in the document, while the pointer is over the list
const placeNow = () => element.getBoundingClientRect().top + scrollY;
function keepInPlace() {
  if (place === null) return;
  const now = element.checkVisibility() ? placeNow() : null;
  if (now !== null) scrollBy(0, now - place);
  place = now;
}
for (const name of ["pointerenter", "pointermove"]) {
  element.addEventListener(name, (event) => {
    pointer = [event.clientX, event.clientY];
    place = placeNow();
  });
}
// If the pointer has not moved, the list has. This event may fire before the ResizeObserver.
element.addEventListener("pointerleave", (event) => {
  if (event.clientX === pointer[0] && event.clientY === pointer[1] && placeNow() !== place) keepInPlace();
  else place = null;
});
new ResizeObserver(keepInPlace).observe(document.body);
find(".pause").addEventListener("click", () => act("pause"));
watch("value", draw);
draw();
