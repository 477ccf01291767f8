// The stage: two contact sheets and a slider that scrubs through the steps; drawn in the browser, without a request.
// A live run sends one frame at a time; they are gathered here, so that a stopped run can be scrubbed as well.
const find = (selector) => element.querySelector(selector);
let film = null, gathered = [], stopped = false;

function draw(index) {
  const frame = film.frames[index], where = frame.step ? "step " + frame.step + " of " + film.total : "the noise it starts from";
  for (const name of ["xt", "x0"]) {
    const image = find("img." + name);
    if (frame[name]) image.src = frame[name];
    else image.removeAttribute("src");
    image.alt = (name === "xt" ? "the images so far, " : "the images that the network expects, ") + where;
  }
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
  find(".stage").classList.toggle("empty", !value.frames.length);
  if (!value.frames.length) {
    find(".status").textContent = value.empty;
    return;
  }
  if (value.live) gathered.push(value.frames[0]);
  show(value);
}

element.addEventListener("input", (event) => {
  if (event.target.matches(".scrub")) draw(Number(event.target.value));
});
element.addEventListener("run-started", () => {
  gathered = [];
  stopped = false;
});
element.addEventListener("run-stopped", () => {
  stopped = true;
  if (gathered.length) show({ ...film, frames: gathered, live: false, status: "Stopped." });
});
watch("value", receive);
receive();
