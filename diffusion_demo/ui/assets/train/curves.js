// Lines over steps on a logarithmic axis, drawn in the browser from {views: [{name, note, x, y, lines: [{name, points: [[x, y], ...]}]}]};
// of a view with share: true, on an axis from 0 to 100 %. x and y are the titles of the axes.
const find = (selector) => element.querySelector(selector), SVG = "http://www.w3.org/2000/svg";
const LEFT = 92, RIGHT = 626, TOP = 10, BOTTOM = 232, MAX_TICKS = 6, LINE_HEIGHT = 24;
let chosen = 0;

function shape(name, attributes, text) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  find("svg").append(node);
}

function short(value) {
  return value >= 100 ? value.toFixed(0) : value >= 1 ? String(Number(value.toFixed(2))) : String(Number(value.toPrecision(2)));
}

// Multiples of 1, 2 or 5 times a power of ten, at most MAX_TICKS + 1 of them.
function linearTicks(low, high, least = 0) {
  const raw = Math.max((high - low) / MAX_TICKS, least, 1e-9), power = 10 ** Math.floor(Math.log10(raw));
  const step = power * ([1, 2, 5, 10].find((factor) => factor * power >= raw * 0.999) || 10), ticks = [];
  for (let tick = Math.ceil(low / step - 1e-9) * step; tick <= high + 1e-9 * step; tick += step) ticks.push(Number(tick.toPrecision(12)));
  return ticks;
}

// 1, 2, 5 times powers of ten between two logarithms; finer multiples where fewer than two of these fall there.
function logTicks(low, high) {
  for (const factors of [[1], [1, 2, 5], [1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9]]) {
    const ticks = [];
    for (let power = Math.floor(low); power <= Math.ceil(high); power++) {
      for (const factor of factors) {
        const tick = Number((factor * 10 ** power).toPrecision(6));
        if (Math.log10(tick) >= low && Math.log10(tick) <= high) ticks.push(tick);
      }
    }
    if (ticks.length >= 3) return ticks.length > MAX_TICKS + 2 ? ticks.filter((_, i) => i % 2 === 0) : ticks;
  }
  return linearTicks(10 ** low, 10 ** high);
}

function axes(view, scale, x, y) {
  let labeled = Infinity;
  for (const tick of scale.yTicks) {
    shape("line", { class: "grid", x1: LEFT, x2: RIGHT, y1: y(tick), y2: y(tick) });
    if (labeled - y(tick) < LINE_HEIGHT) continue;
    labeled = y(tick);
    shape("text", { x: LEFT - 6, y: y(tick) + 4, "text-anchor": "end" }, view.share ? Math.round(100 * tick) + " %" : short(tick));
  }
  for (const tick of scale.xTicks) {
    shape("line", { class: "grid", x1: x(tick), x2: x(tick), y1: BOTTOM, y2: BOTTOM + 4 });
    shape("text", { x: x(tick), y: BOTTOM + 19, "text-anchor": "middle" }, tick.toLocaleString("en"));
  }
  shape("text", { class: "title", x: (LEFT + RIGHT) / 2, y: BOTTOM + 44, "text-anchor": "middle" }, view.x || "");
  shape("text", { class: "title", x: 0, y: 0, "text-anchor": "middle", transform: `translate(16 ${(TOP + BOTTOM) / 2}) rotate(-90)` }, view.y || "");
}

function draw() {
  const views = (props.value || {}).views || [], view = views[Math.min(chosen, views.length - 1)];
  find("svg").replaceChildren();
  find(".reading").textContent = "";
  const all = view ? view.lines.flatMap((line) => line.points) : [], ys = all.map((p) => p[1]).filter((y) => y > 0);
  find(".curves").hidden = !ys.length;
  if (!ys.length) return;
  find("svg").setAttribute("aria-label", (view.y || view.name) + " over " + (view.x || "steps"));
  const first = view.share ? 0 : Math.min(...all.map((p) => p[0])), last = view.share ? 100 : Math.max(...all.map((p) => p[0]), first + 1);
  const log = view.share ? (value) => value : Math.log10;
  const low = view.share ? 0 : log(Math.min(...ys)) - 0.03, high = view.share ? 1 : log(Math.max(...ys)) + 0.03;
  const x = (step) => LEFT + ((step - first) / (last - first)) * (RIGHT - LEFT);
  const y = (value) => BOTTOM - ((log(value) - low) / (high - low)) * (BOTTOM - TOP);
  axes(view, { xTicks: linearTicks(first, last, 1), yTicks: view.share ? [0, 0.25, 0.5, 0.75, 1] : logTicks(low, high) }, x, y);
  view.lines.forEach((line, i) => {
    const points = line.points.filter((p) => view.share || p[1] > 0).map((p) => x(p[0]).toFixed(1) + "," + y(p[1]).toFixed(1));
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
