// The stage: one contact sheet, a switch between the current step and the predicted image, and a slider that replays the
// steps; drawn in the browser, without a request. A live run sends one frame at a time; they are gathered here, so that
// a stopped run can be replayed as well. A click on a finished image opens the viewer (viewer.js).
const REPLAY_FIRST = 700, REPLAY_EACH = 170; // milliseconds for which the noise, and each later frame, is shown
const UNFINISHED = "diffusion-demo-run"; // in this tab's session storage: the run that a reload would cut short
const find = (selector) => element.querySelector(selector);
let film = null, before = null, gathered = [], running = false, stopped = false, shownFrame = 0, view = "xt", timer = null;

function draw(index) {
  shownFrame = index;
  const frame = film.frames[index], where = frame.step ? "step " + frame.step + " of " + film.total : "pure noise";
  for (const name of ["xt", "x0"]) {
    const image = find("img." + name);
    if (frame[name]) image.src = frame[name];
    else image.removeAttribute("src");
    image.alt = (name === "xt" ? "Images at the current step, " : "Predicted images, ") + where;
  }
  // At the very start there is no prediction yet.
  for (const name of ["xt", "x0"]) find("img." + name).hidden = name !== (frame[view] ? view : "xt");
  find(".scrub").setAttribute("aria-valuetext", where);
  const steps = film.frames[film.frames.length - 1].step; // fewer than film.total after a stop
  find(".status").textContent = film.live ? film.status
    : where[0].toUpperCase() + where.slice(1) + ", t = " + frame.t + ". " + film.status + (steps ? " Drag to replay the " + steps + (steps === 1 ? " step." : " steps.") : "");
}

// Lines break between the parts of the caption only.
function drawCaption(text) {
  find(".caption").replaceChildren(...text.split(" · ").flatMap((part, index, parts) => {
    const span = document.createElement("span");
    span.textContent = part + (index + 1 < parts.length ? " ·" : "");
    return [span, " "];
  }));
}

// One button per image, on top of the sheet, once the images are complete. The cells without an image, which are white on
// the sheet, have the color of the page, also before.
function drawCells() {
  const cells = film.live ? [] : film.cells || [], count = film.count || cells.length;
  const columns = Math.ceil(Math.sqrt(count)), rows = Math.ceil(count / columns);
  find(".cells").style.gridTemplateColumns = "repeat(" + columns + ", 1fr)";
  if (columns) find(".stage").style.setProperty("--ratio", columns / rows);
  find(".cells").replaceChildren(...cells.map((caption, index) => {
    const button = document.createElement("button"), words = document.createElement("span");
    button.type = "button";
    button.className = "cell";
    button.dataset.index = index;
    button.setAttribute("aria-label", "Enlarge image " + (index + 1) + ": " + caption);
    words.textContent = caption;
    button.append(words);
    return button;
  }), ...Array.from({ length: columns * rows - cells.length || 0 }, (_, i) =>
    Object.assign(document.createElement("i"), { className: cells.length + i < count ? "" : "blank" })));
}

function measure() { // the sheet of a run in progress has the proportions of its first frame
  const image = find("img.xt");
  if (image.naturalWidth) find(".stage").style.setProperty("--ratio", image.naturalWidth / image.naturalHeight);
}

function show(next) {
  film = next;
  const scrub = find(".scrub"), last = film.frames.length - 1;
  scrub.max = film.live ? film.total : last;
  scrub.value = film.live ? film.frames[last].step : last;
  scrub.disabled = Boolean(film.live);
  drawCaption(film.caption || "");
  draw(last);
  drawCells();
}

function invite(value) {
  film = null;
  find(".cells").replaceChildren();
  drawCaption(value.caption || "");
  find(".invitation p").textContent = value.empty;
  find(".status").textContent = "";
  find(".known").hidden = !value.known;
  if (value.known) find(".known").src = value.known;
}

function receive() {
  const value = props.value;
  if (!value || !value.frames || (value.live && stopped) || (value.idle && running) || isShown(value)) return;
  clearTimeout(timer);
  if (value.resume) remember(value.resume);
  else if (!value.live && !value.idle) remember(null); // an example comes with each load, and history.js reads this then
  if (!value.live && value.frames.length) running = false;
  find(".stage").classList.remove("waiting");
  find(".stage").classList.toggle("empty", !value.frames.length);
  if (!value.frames.length) return invite(value);
  if (value.live) gathered.push(value.frames[0]);
  show(value);
  if (value.replay && !matchMedia("(prefers-reduced-motion: reduce)").matches) replay(0);
}

function isShown(value) { // a finished run is sent twice, the second time with its animation
  return Boolean(film && !film.live && !value.live && value.status && film.status === value.status && film.caption === value.caption);
}

// A reload aborts the requests of a run while this page is still alive. The run has not failed then.
let isLeaving = false;
addEventListener("beforeunload", () => {
  isLeaving = true;
  setTimeout(() => { isLeaving = false; }, 10000); // in case the page stays, as after a download
});

function remember(run) { // of Generate only: a run of Variations needs its images, too
  if (isLeaving) return;
  try {
    if (run) sessionStorage.setItem(UNFINISHED, JSON.stringify(run));
    else if (element.id === "stage" || element.closest("#stage")) sessionStorage.removeItem(UNFINISHED);
  } catch { /* a browser that stores nothing */ }
}

function replay(index) {
  find(".scrub").value = index;
  draw(index);
  if (index + 1 < film.frames.length) timer = setTimeout(replay, index ? REPLAY_EACH : REPLAY_FIRST, index + 1);
}

find("img.xt").addEventListener("load", measure);
element.addEventListener("input", (event) => {
  if (!event.target.matches(".scrub")) return;
  clearTimeout(timer);
  draw(Number(event.target.value));
});
element.addEventListener("click", (event) => {
  const chosen = event.target.closest("[data-view]");
  if (!chosen) return;
  view = chosen.dataset.view;
  for (const button of element.querySelectorAll("[data-view]")) button.setAttribute("aria-pressed", String(button === chosen));
  if (film) draw(shownFrame);
});
element.addEventListener("run-started", () => {
  clearTimeout(timer);
  before = props.value;
  gathered = [];
  running = true;
  stopped = false;
  find(".stage").classList.add("waiting");
  find(".status").textContent = "Starting …";
});
element.addEventListener("run-stopped", () => {
  running = false;
  stopped = true;
  remember(null);
  find(".stage").classList.remove("waiting");
  if (gathered.length) show({ ...film, frames: gathered, live: false, cells: [], status: "Stopped." });
  else restore("Stopped.");
});
element.addEventListener("run-failed", () => { if (!stopped) restore("Nothing was generated."); }); // a stop fails, too

// What stood here before a run that came to nothing.
function restore(words) {
  running = false;
  remember(null);
  find(".stage").classList.remove("waiting");
  if (before && before.frames.length && before.cells) {
    const files = element.closest(".results").querySelectorAll(".result-files .thumbnail-lg img").length;
    show(files === before.cells.length ? before : { ...before, cells: [] }); // an image without its file can't be enlarged
    find(".status").textContent = words;
  } else {
    find(".stage").classList.add("empty");
    invite(before && before.empty ? before : { empty: "" });
    find(".status").textContent = words;
  }
}
watch("value", receive);
receive();
