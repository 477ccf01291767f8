// Lines over steps on a logarithmic axis, drawn in the browser from {views: [{name, note, lines: [{name, points: [[x, y], ...]}]}]};
// of a view with share: true, on an axis from 0 to 100 %.
const find = (selector) => element.querySelector(selector), SVG = "http://www.w3.org/2000/svg";
const LEFT = 60, RIGHT = 632, TOP = 10, BOTTOM = 226;
let chosen = 0;

function shape(name, attributes, text) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  find("svg").append(node);
}

function short(value) {
  return value >= 100 ? value.toFixed(0) : value >= 1 ? value.toFixed(1) : value.toPrecision(2);
}

function draw() {
  const views = (props.value || {}).views || [], view = views[Math.min(chosen, views.length - 1)];
  find("svg").replaceChildren();
  find(".reading").textContent = "";
  if (!view) return;
  const all = view.lines.flatMap((line) => line.points), ys = all.map((p) => p[1]).filter((y) => y > 0);
  if (!ys.length) return;
  const first = Math.min(...all.map((p) => p[0])), last = Math.max(...all.map((p) => p[0]), first + 1);
  const scale = view.share ? (value) => value : Math.log10, back = view.share ? (value) => value : (value) => 10 ** value;
  const low = view.share ? 0 : Math.log10(Math.min(...ys)) - 0.03, high = view.share ? 1 : Math.log10(Math.max(...ys)) + 0.03;
  const words = view.share ? (value) => Math.round(100 * value) + " %" : short;
  const x = (step) => LEFT + ((step - first) / (last - first)) * (RIGHT - LEFT);
  const y = (value) => BOTTOM - ((scale(value) - low) / (high - low)) * (BOTTOM - TOP);
  for (let i = 0; i <= 4; i++) {
    const value = back(low + ((high - low) * i) / 4), step = Math.round(first + ((last - first) * i) / 4);
    shape("line", { class: "grid", x1: LEFT, x2: RIGHT, y1: y(value), y2: y(value) });
    shape("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, words(value));
    shape("text", { x: x(step), y: BOTTOM + 18, "text-anchor": i === 0 ? "start" : i === 4 ? "end" : "middle" }, step.toLocaleString("en"));
  }
  view.lines.forEach((line, i) => {
    const points = line.points.filter((p) => p[1] > 0).map((p) => x(p[0]).toFixed(1) + "," + y(p[1]).toFixed(1));
    shape("polyline", { class: "line line-" + i + (line.faint ? " faint" : ""), points: points.join(" ") });
    if (points.length === 1) shape("circle", { class: "dot line-" + i, r: 4, cx: points[0].split(",")[0], cy: points[0].split(",")[1] });
  });
  const parts = view.lines.filter((line) => line.points.length && !line.faint);
  find(".reading").replaceChildren(...parts.map((line) => {
    const key = document.createElement("span");
    key.className = "key line-" + view.lines.indexOf(line);
    key.textContent = view.share ? line.name : line.name + " " + short(line.points[line.points.length - 1][1]);
    return key;
  }), document.createTextNode(view.note || ""));
}

function choose() {
  const views = (props.value || {}).views || [];
  if (find(".views").childElementCount !== views.length) {
    find(".views").replaceChildren(...views.map((view, i) => {
      const label = document.createElement("label"), input = document.createElement("input");
      Object.assign(input, { type: "radio", name: "curves-view", value: i, checked: i === chosen });
      label.append(input, view.name);
      return label;
    }));
  }
  draw();
}

element.addEventListener("change", (event) => {
  if (event.target.name === "curves-view") { chosen = Number(event.target.value); draw(); }
});
watch("value", choose);
choose();
