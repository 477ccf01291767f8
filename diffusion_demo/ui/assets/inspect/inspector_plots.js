// The plots and the list of schedules.
const SVG = "http://www.w3.org/2000/svg", LEFT = 46, RIGHT = 14, TOP = 8, BOTTOM = 22;
const BINS = 64, WIDEST = 4, DENSEST = 1, LEAST = 1e-9, WASTED = 0.01, MOST_POINTS = 400;
const VIEW_NAMES = { abar: "ᾱ at t", beta: "β at t", snr: "SNR at t" };
const scales = new Map();

function shape(svg, name, attributes, text) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  svg.append(node);
}

function plot(svg, height, xs, ys, log) {
  const width = svg.clientWidth, place = log ? (v) => Math.log10(Math.max(v, ys.low)) : (v) => v;
  const x = (v) => LEFT + ((v - xs.low) / (xs.high - xs.low)) * (width - LEFT - RIGHT);
  const y = (v) => height - BOTTOM - ((place(v) - place(ys.low)) / (place(ys.high) - place(ys.low))) * (height - TOP - BOTTOM);
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.style.height = height + "px";
  svg.replaceChildren();
  for (const v of ys.ticks) {
    shape(svg, "line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y(v), y2: y(v) });
    shape(svg, "text", { x: LEFT - 6, y: y(v) + 4, "text-anchor": "end" }, log ? power(Math.round(Math.log10(v))) : v);
  }
  for (const v of xs.ticks) shape(svg, "text", { x: x(v), y: height - 5, "text-anchor": v === xs.high ? "end" : "middle" }, v);
  scales.set(svg, { x, y });
}

function decades(values) {
  const real = values.filter((v) => v > 0 && Number.isFinite(v)).map(Math.log10);
  const low = Math.max(Math.floor(Math.min(...real)), Math.log10(LEAST)), high = Math.max(Math.ceil(Math.max(...real)), low + 1), step = Math.ceil((high - low) / 5);
  return { low: 10 ** low, high: 10 ** high, ticks: Array.from({ length: Math.floor((high - low) / step) + 1 }, (_, i) => 10 ** (low + i * step)) };
}

function drawLines(svg, height, view) {
  const skip = Math.ceil(data.T / MOST_POINTS), steps = Array.from({ length: data.T + 1 }, (_, t) => t).filter((t) => t % skip === 0 || t === data.T);
  const lines = drawn().map((s) => [s, steps.map((t) => [t, VALUES[view](s, t)]).filter(([, v]) => Number.isFinite(v))]);
  const ts = { low: 0, high: data.T, ticks: [...new Set([0, 0.25, 0.5, 0.75, 1].map((share) => Math.round(share * data.T)))] };
  const linear = { low: 0, high: 1, ticks: [0, 0.25, 0.5, 0.75, 1] };
  plot(svg, height, ts, view === "abar" ? linear : decades(lines.flatMap(([, points]) => points.map(([, v]) => v))), view !== "abar");
  const { x, y } = scales.get(svg);
  for (const [s, points] of lines) {
    const place = points.map(([t, v]) => x(t).toFixed(1) + "," + y(v).toFixed(1)).join(" ");
    shape(svg, "polyline", { class: `line line-${s.name}` + (s.name === state.schedule ? " chosen" : ""), points: place });
  }
  shape(svg, "line", { class: "cursor", y1: TOP, y2: height - BOTTOM });
  for (const s of drawn()) shape(svg, "circle", { class: `dot line-${s.name}`, "data-name": s.name, "data-view": view, r: 4.5 });
}

function moveCursors() {
  for (const svg of every("svg.curve, svg.kl")) {
    const { x, y } = scales.get(svg) || {}, cursor = svg.querySelector(".cursor");
    if (!cursor) continue;
    cursor.setAttribute("x1", x(state.t));
    cursor.setAttribute("x2", x(state.t));
    for (const dot of svg.querySelectorAll(".dot")) {
      const value = VALUES[dot.dataset.view](named(dot.dataset.name), state.t);
      dot.setAttribute("visibility", Number.isFinite(value) ? "visible" : "hidden");
      dot.setAttribute("cx", x(state.t));
      dot.setAttribute("cy", y(Number.isFinite(value) ? value : 1));
    }
  }
}

function drawHistogram(xt) {
  const svg = find("svg.histogram"), { x, y } = scales.get(svg) || {}, counts = new Array(BINS).fill(0), width = (2 * WIDEST) / BINS;
  let sum = 0, squares = 0;
  for (const v of xt) {
    const bin = Math.floor((v + WIDEST) / width);
    if (bin >= 0 && bin < BINS) counts[bin]++;
    sum += v;
    squares += v * v;
  }
  const mean = sum / xt.length, tops = counts.map((n) => y(Math.min(n / xt.length / width, DENSEST)).toFixed(2));
  const path = tops.map((top, i) => `V${top}H${x(-WIDEST + (i + 1) * width).toFixed(2)}`).join("");
  svg.querySelector(".bars").setAttribute("d", `M${x(-WIDEST)},${y(0)}${path}V${y(0)}Z`);
  find(".mean").textContent = (Math.abs(mean) < 5e-4 ? 0 : mean).toFixed(3).replace("-", "−");
  find(".spread").textContent = Math.sqrt(squares / xt.length - mean * mean).toFixed(3);
}

function drawPlots() {
  const svg = find("svg.histogram"), whole = Array.from({ length: 2 * WIDEST + 1 }, (_, i) => i - WIDEST);
  plot(svg, 150, { low: -WIDEST, high: WIDEST, ticks: whole.filter((v) => v % 2 === 0) }, { low: 0, high: DENSEST, ticks: [0, 0.5, 1] });
  const { x, y } = scales.get(svg), normal = Array.from({ length: 161 }, (_, i) => -WIDEST + (i * WIDEST) / 80);
  shape(svg, "path", { class: "bars" });
  shape(svg, "polyline", { class: "line normal", points: normal.map((v) => x(v) + "," + y(Math.exp((-v * v) / 2) / Math.sqrt(2 * Math.PI))).join(" ") });
  drawLines(find("svg.kl"), 130, "kl");
  drawLines(find("svg.curve"), 270, state.view);
}
