// The stage: one contact sheet, a switch between x_t and the predicted x_0, and a slider that scrubs through the steps;
// drawn in the browser, without a request. A live run sends one frame at a time; they are gathered here, so that a
// stopped run can be scrubbed as well.
const REPLAY_FIRST = 700, REPLAY_EACH = 170; // milliseconds for which the noise, and each later frame, is shown
const find = (selector) => element.querySelector(selector);
let film = null, gathered = [], stopped = false, shownFrame = 0, view = "xt", replayTimer = null;

function draw(index) {
  shownFrame = index;
  const frame = film.frames[index], where = frame.step ? "step " + frame.step + " of " + film.total : "the noise it starts from";
  for (const name of ["xt", "x0"]) {
    const image = find("img." + name);
    if (frame[name]) image.src = frame[name];
    else image.removeAttribute("src");
    image.alt = (name === "xt" ? "images at the current step, " : "predicted images, ") + where;
  }
  // At the very start there is no prediction yet.
  for (const name of ["xt", "x0"]) find("img." + name).hidden = name !== (frame[view] ? view : "xt");
  find(".scrub").setAttribute("aria-valuetext", where);
  find(".status").textContent = film.live ? film.status : where[0].toUpperCase() + where.slice(1) + ", t = " + frame.t + ". " + film.status;
}

function show(next) {
  film = next;
  const scrub = find(".scrub"), last = film.frames.length - 1;
  scrub.max = film.live ? film.total : last;
  scrub.value = film.live ? film.frames[last].step : last;
  scrub.disabled = film.live;
  draw(last);
}

function receive() {
  const value = props.value;
  if (!value || !value.frames || (value.live && stopped)) return;
  clearTimeout(replayTimer);
  find(".stage").classList.toggle("empty", !value.frames.length);
  if (!value.frames.length) {
    find(".status").textContent = value.empty;
    return;
  }
  if (value.live) gathered.push(value.frames[0]);
  show(value);
  if (value.replay && !matchMedia("(prefers-reduced-motion: reduce)").matches) replay(0);
}

function replay(index) {
  find(".scrub").value = index;
  draw(index);
  if (index + 1 < film.frames.length) replayTimer = setTimeout(replay, index ? REPLAY_EACH : REPLAY_FIRST, index + 1);
}

element.addEventListener("input", (event) => {
  if (!event.target.matches(".scrub")) return;
  clearTimeout(replayTimer);
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
  clearTimeout(replayTimer);
  gathered = [];
  stopped = false;
});
element.addEventListener("run-stopped", () => {
  stopped = true;
  if (gathered.length) show({ ...film, frames: gathered, live: false, status: "Stopped." });
});
watch("value", receive);
receive();
