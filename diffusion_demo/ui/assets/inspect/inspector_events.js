// What a person does with the explorer, and what comes from Python.
function choose(name) {
  state.schedule = name;
  state.drawn.add(name);
  drawSchedules();
}

function fromLink() {
  const asked = new URLSearchParams(location.search), t = asked.get("t") || "";
  if (find(`.head[data-lesson="${CSS.escape(asked.get("lesson") || "")}"]`)) state.lesson = asked.get("lesson");
  else if (asked.has("T") && data.T !== 1000) state.lesson = "schedules";
  if (named(asked.get("schedule"))) state.schedule = asked.get("schedule");
  if (/^\d+$/.test(t) && Number(t) <= data.T) state.t = Number(t);
  else startAt(find(`.lessons .go-to[data-lesson="${state.lesson}"]`).dataset.open);
  return ["t", "schedule", "lesson", "T"].some((name) => asked.has(name));
}

// Gradio's buttons of example images have no names, and come later than this script.
function nameExamples() {
  document.querySelectorAll("#examples button.gallery-item").forEach((button, index) => {
    const image = button.querySelector("img"), name = image ? image.src.split("/").pop().split(".")[0] : "seed";
    button.setAttribute("aria-label", "Example" + (name.startsWith("seed") ? " " + (index + 1) : ": " + name));
  });
}

new MutationObserver(nameExamples).observe(element.closest('[role="tabpanel"]'), { childList: true, subtree: true });

function show() {
  const value = props.value;
  if (!value || !value.x0) return;
  const before = data, tables = (s) => ({ ...s, betas: doubles(s.betas), abar: doubles(s.abar), kl: doubles(s.kl) });
  const x0 = Float32Array.from(bytes(value.x0), (v) => v / 127.5 - 1), eps = new Float32Array(bytes(value.eps).buffer);
  data = { ...value, x0, eps, schedules: value.schedules.map(tables), number: before ? before.number + 1 : 1 };
  state.t = before ? Math.round((state.t / before.T) * data.T) : Math.round(data.T / 4);
  const linked = !before && fromLink(), lost = !named(state.schedule);
  if (lost) state.schedule = named(state.own) ? state.own : data.schedules[0].name;
  state.ownKey = null;
  find(".waiting").hidden = true;
  find(".shown").hidden = false;
  find(".t").max = data.T;
  paint(find("canvas.x0"), data.x0);
  paint(find("canvas.eps"), data.eps.map((v) => v / 3));
  listSchedules();
  openLesson();
  showLink();
  watchLesson();
  settle();
  if (linked || lost || (before && (before.T !== data.T || before.example !== data.example || before.seed !== data.seed))) release();
}

function move(t) {
  state.t = Math.min(Math.max(t, 0), data.T);
  drawTime();
}

element.addEventListener("input", (event) => {
  if (data && event.target.matches(".t")) move(Number(event.target.value));
});
element.addEventListener("change", ({ target }) => {
  if (!data) return;
  if (target.name === "inspect-schedule") choose(target.value);
  if (target.name === "inspect-view") state.view = target.value;
  if (target.type === "checkbox") state.drawn[target.checked ? "add" : "delete"](target.value);
  if (target.name === "inspect-view" || target.type === "checkbox") drawSchedules();
  if (target.matches(".t") || target.name === "inspect-schedule") release();
});
element.addEventListener("keydown", (event) => {
  const way = { ArrowRight: 10, ArrowUp: 10, ArrowLeft: -10, ArrowDown: -10 }[event.key];
  if (!data || !way || !event.shiftKey || !event.target.matches(".t")) return;
  event.preventDefault();
  move(state.t + way);
  release();
});
element.addEventListener("click", ({ target }) => {
  const frame = target.closest(".frame");
  if (frame) {
    state.t = Number(frame.dataset.t);
    frame.dataset.schedule === state.schedule ? drawTime() : choose(frame.dataset.schedule);
    release();
  }
  const lesson = target.closest(".go-to")?.dataset.lesson;
  if (data && lesson) goTo(lesson, Number(find(`.lessons [data-lesson="${lesson}"]`).dataset.open));
  if (target.closest(".set-t")) {
    move(Math.round(target.dataset.share * data.T));
    release();
  }
  if (target.closest(".save")) saveStrip();
  if (target.closest(".figure")) saveFigure();
  if (target.closest(".print")) window.print();
  if (target.closest(".copy")) copyLink();
});
// The lesson is replaced with every part that a computation adds, so its button is given the focus again.
let pressed = null;
document.addEventListener("click", ({ target }) => {
  const button = target.closest("#lesson [data-press]");
  pressed = button && button.dataset.press;
  if (button) document.getElementById(pressed).click();
});
// Charts need a width, which they have once the tab is open.
new ResizeObserver(() => {
  if (!data || !find(".bar").clientWidth) return;
  if (!every(".curve, .kl").some((parent) => parent.chart && parent.clientWidth)) {
    drawPlots();
    drawTime();
  }
  watchLesson();
  settle();
}).observe(find(".bar"));
// The lesson is mounted after this element.
let watched = null;
function watchLesson() {
  if (!block() || watched === block()) return;
  watched = block();
  new MutationObserver(() => {
    settle();
    if (pressed && document.activeElement === document.body) watched.querySelector(`[data-press="${pressed}"]`)?.focus({ preventScroll: true });
  }).observe(watched, { childList: true, subtree: true });
}
watch("value", show);
show();
