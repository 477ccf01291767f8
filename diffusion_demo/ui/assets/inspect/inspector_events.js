// What a person does with the explorer, and what comes from Python.
function choose(name) {
  state.schedule = name;
  state.drawn.add(name);
  drawSchedules();
}

function fromLink() {
  const asked = new URLSearchParams(location.search), t = asked.get("t") || "";
  if (named(asked.get("schedule"))) state.schedule = asked.get("schedule");
  if (/^\d+$/.test(t) && Number(t) <= data.T) state.t = Number(t);
  return asked.has("t") || asked.has("schedule");
}

function show() {
  const value = props.value;
  if (!value || !value.x0) return;
  const before = data, tables = (s) => ({ ...s, betas: doubles(s.betas), abar: doubles(s.abar), kl: doubles(s.kl) });
  const x0 = Float32Array.from(bytes(value.x0), (v) => v / 127.5 - 1), eps = new Float32Array(bytes(value.eps).buffer);
  data = { ...value, x0, eps, schedules: value.schedules.map(tables), number: before ? before.number + 1 : 1 };
  state.t = before ? Math.round((state.t / before.T) * data.T) : Math.round(data.T / 4);
  const linked = !before && fromLink(), lost = !chosen();
  if (lost) state.schedule = data.schedules[0].name;
  find(".waiting").hidden = true;
  find(".shown").hidden = false;
  find(".t").max = data.T;
  paint(find("canvas.x0"), data.x0);
  paint(find("canvas.eps"), data.eps.map((v) => v / 3));
  listSchedules();
  drawSchedules();
  showLink();
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
  if (target.closest(".save")) saveStrip();
  if (target.closest(".copy")) copyLink();
});
new ResizeObserver(() => {
  if (!data || !find("svg.curve").clientWidth) return;
  drawPlots();
  drawTime();
}).observe(element);
watch("value", show);
show();
