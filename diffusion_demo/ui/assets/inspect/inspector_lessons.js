// The lessons: which one is open, and whether what the server computed for it is still true.
const answer = () => document.querySelector("#lesson .panel");
const block = () => document.querySelector("#lesson");

function openLesson() {
  for (const node of every(".head, .part, .next")) node.hidden = node.dataset.lesson !== state.lesson;
  for (const button of every(".lessons .go-to")) {
    const isOpen = button.dataset.lesson === state.lesson, list = button.parentElement;
    button.setAttribute("aria-current", isOpen ? "step" : "false");
    if (isOpen) list.scrollLeft = button.offsetLeft - (list.clientWidth - button.offsetWidth) / 2; // on a phone it is too wide
  }
  find(".save").hidden = state.lesson !== "forward";
  drawSchedules();
}

// Some lessons begin at a t of their own.
function startAt(share) {
  if (share && state.t < data.T / 2) state.t = Math.round(share * data.T);
}

function goTo(lesson, share) {
  state.lesson = lesson;
  startAt(share);
  openLesson();
  release();
  // The bar is always in view, so the browser sees no need to scroll to it.
  find(".heads").style.scrollMarginTop = find(".bar").offsetHeight + 8 + "px";
  find(".heads").scrollIntoView({ block: "start" });
}

// The number of the answer that was shown when something else changed than lesson, t and noise, which an answer tells.
let stale = null;

// The old content is dimmed as soon as something changed, and hidden where it belongs to another lesson.
function markBusy() {
  if (!data || !block()) return;
  block().classList.add("busy");
  block().classList.toggle("other", answer()?.dataset.lesson !== state.lesson);
  block().setAttribute("aria-busy", "true");
  find(".working").textContent = "Computing ...";
}

// Gradio updates the lesson before the first part of a computation arrives, so only its end says that it has ended.
function showComputing() {
  block().classList.toggle("computing", isComputing);
  isComputing ? block().setAttribute("aria-busy", "true") : block().removeAttribute("aria-busy");
  write(find(".working"), isComputing ? "Computing ..." : "");
}

function isTrue(panel) {
  const steps = Number(panel.dataset.steps), t = Math.max(1, (state.t / data.T) * steps), rounding = steps === data.T ? 0 : 1;
  return panel.dataset.answer !== stale && panel.dataset.lesson === state.lesson && Math.abs(panel.dataset.t - t) <= rounding && Number(panel.dataset.seed) === data.seed;
}

function settle(finished) {
  const panel = answer();
  if (finished) stale = null;
  if (!data || !panel) return;
  useOwnSchedule(panel.dataset);
  nameExamples(); // Gradio may make them later than this element
  if (isTrue(panel)) {
    block().classList.remove("busy", "other");
    showComputing();
    if (finished) addModel();
  } else if (finished && panel.dataset.lesson !== state.lesson) markBusy();
  if (finished && find(".link").href !== address(location.origin + location.pathname)) showLink();
  drawCharts(block()); // once it is visible, because a chart needs a width
}

// The schedule of the model, which the server tells with every lesson. One without a name comes as its betas.
function useOwnSchedule({ schedule, betas, steps }) {
  const before = state.own, key = schedule + betas + steps;
  state.ownSteps = Number(steps);
  if (state.ownKey === key) return;
  state.ownKey = key;
  state.own = schedule;
  data.schedules = data.schedules.filter((s) => s.name !== "own");
  if (betas && data.T === Number(steps)) addOwn(doubles(betas));
  if (state.schedule === before || !named(state.schedule)) state.schedule = state.own;
  listSchedules();
  drawSchedules();
  showLink();
}

function addOwn(betas) {
  let left = 1;
  const abar = betas.map((beta) => (left *= 1 - beta));
  data.schedules.push({ name: "own", label: "the model's own", betas, abar, kl: [], snr: left / (1 - left), warning: null });
}

document.addEventListener("lesson-busy", () => {
  isComputing = false; // a change ends it
  stale = answer()?.dataset.answer;
  markBusy();
});
// A button's computation and a change cancel each other, so an event that ends may not be the one being waited for.
let isComputing = false;
document.addEventListener("lesson-pressed", () => {
  isComputing = true;
  showComputing();
});
document.addEventListener("lesson-computed", () => {
  isComputing = false;
  requestAnimationFrame(() => settle());
});
document.addEventListener("lesson-done", () => requestAnimationFrame(() => settle(!isComputing)));
