// The curves of a run, drawn by chart.js from {views: [{name, note, chart}]}; chart is what lineChart takes.
const find = (selector) => element.querySelector(selector), COMPARE = "Compare";
let names = [], chosen = "";

function listViews(views) {
  const before = names;
  names = views.map((view) => view.name);
  if (names.join() === before.join()) return;
  // Show the comparison as soon as a run is added to it.
  if (!names.includes(chosen) || (names.includes(COMPARE) && before.length && !before.includes(COMPARE))) chosen = names[0];
  find(".views").replaceChildren(...names.map((name) => {
    const label = document.createElement("label"), input = document.createElement("input");
    Object.assign(input, { type: "radio", name: "curves-view", value: name, checked: name === chosen });
    label.append(input, name);
    return label;
  }));
}

function draw() {
  const { views = [], expected } = props.value || {};
  find(".curves").hidden = !views.length && !expected;
  find(".curves").classList.toggle("empty", !views.length);
  if (!views.length) return;
  listViews(views);
  const view = views.find(({ name }) => name === chosen);
  lineChart(find(".plot"), view.chart);
  find(".note").textContent = view.note;
}

element.addEventListener("change", (event) => {
  if (event.target.name !== "curves-view") return;
  chosen = event.target.value;
  draw();
});
watch("value", draw);
draw();
