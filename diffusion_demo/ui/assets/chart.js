// Line charts, drawn by uPlot (vendor/uplot): titled axes, round ticks, values under the pointer or the arrow keys.
(() => {
  const FONT = "12px system-ui", TICK_FACTORS = [[1], [1, 2, 5], [1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9]], MOST_POWERS = 5, TICK_LENGTH = 15;
  const WHOLE_STEPS = Array.from({ length: 12 }, (_, k) => [1, 2, 5].map((factor) => factor * 10 ** k)).flat();
  const superscript = (k) => [...String(k)].map((c) => (c === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[c])).join("");
  const minus = (text) => text.replace("-", "−");
  const isPower = (v) => Math.abs(Math.log10(v) - Math.round(Math.log10(v))) < 1e-9;
  const isMissing = (v) => v === null || v === undefined;
  const color = (parent, name) => (name.startsWith("--") ? getComputedStyle(parent).getPropertyValue(name).trim() : name);
  const css = (name) => (name.startsWith("--") ? `var(${name})` : name); // follows the theme by itself
  const ruler = document.createElement("canvas").getContext("2d");

  function reading(v) {
    if (isMissing(v)) return "–";
    if (Number.isInteger(v)) return minus(v.toLocaleString("en"));
    if (Math.abs(v) >= 1e-3) return minus(String(Number(v.toPrecision(4))));
    const [digits, k] = v.toExponential(2).split("e");
    return minus(digits) + "·10" + superscript(Number(k));
  }

  function textWidth(text) {
    ruler.font = FONT;
    return ruler.measureText(text).width;
  }

  // A margin around the values, and at least a factor of two, so that there are ticks in it.
  function logRange(u, min, max) {
    if (!(min > 0)) return [0.1, 1];
    const margin = Math.max((max / min) ** 0.03, Math.sqrt(Math.max(1, 2 / (max / min))), 1.05);
    return [min / margin, max * margin];
  }

  // The coarsest of TICK_FACTORS that has at least three ticks in a range.
  function logTicks(min, max) {
    let ticks = [];
    for (const factors of TICK_FACTORS) {
      ticks = [];
      for (let k = Math.floor(Math.log10(min)); k <= Math.ceil(Math.log10(max)); k++) {
        ticks.push(...factors.map((factor) => Number((factor * 10 ** k).toPrecision(6))).filter((v) => v >= min * 0.999999 && v <= max * 1.000001));
      }
      if (ticks.length >= 3) break;
    }
    return ticks;
  }

  // Powers of ten, at most MOST_POWERS of them, or every tick of a range that has less than three powers.
  function logLabels(ticks) {
    const tens = ticks.filter((v) => v > 0 && isPower(v)).map((v) => Math.round(Math.log10(v))), every = Math.ceil(tens.length / MOST_POWERS);
    return ticks.map((v) => {
      const k = Math.floor(Math.log10(v) + 1e-9);
      if (tens.length >= 3) return v > 0 && isPower(v) && (k - tens[0]) % every === 0 ? "10" + superscript(k) : "";
      return v < 1e-3 ? Number((v / 10 ** k).toPrecision(2)) + "·10" + superscript(k) : String(v);
    });
  }

  function axis(parent, { title, log, whole }, side) {
    const axes = { label: title + (log ? " (log scale)" : ""), labelSize: 26, labelGap: 4, font: FONT, labelFont: FONT, size: 30 };
    axes.stroke = () => color(parent, "--body-text-color-subdued");
    axes.grid = axes.ticks = { stroke: () => color(parent, "--border-color-primary"), width: 1 };
    axes.values = (u, ticks) => ticks.map((v) => (isMissing(v) ? "" : minus(v.toLocaleString("en", { maximumFractionDigits: 9 }))));
    if (whole) axes.incrs = WHOLE_STEPS;
    if (side === 2) axes.space = (u, i, min, max) => Math.max(whole ? 70 : 50, textWidth(max.toLocaleString("en")) + 24);
    else axes.size = (u, labels) => Math.max(40, Math.ceil(TICK_LENGTH + Math.max(0, ...(labels || []).map((text) => textWidth(text || "")))));
    if (log) {
      axes.splits = (u, i, min, max) => logTicks(min, max);
      axes.filter = (u, ticks) => ticks;
      axes.values = (u, ticks) => logLabels(ticks);
    }
    return axes;
  }

  // The point that a series with points of its own shows at index i: the nearest, but not farther away than its points lie apart.
  function nearestPoint(xs, values, i) {
    let nearest = null, before = null, widest = 0;
    for (let k = 0; k < xs.length; k++) {
      if (isMissing(values[k])) continue;
      if (before !== null) widest = Math.max(widest, xs[k] - xs[before]);
      if (nearest === null || Math.abs(xs[k] - xs[i]) < Math.abs(xs[nearest] - xs[i])) nearest = k;
      before = k;
    }
    return nearest !== null && Math.abs(xs[nearest] - xs[i]) <= widest ? nearest : i;
  }

  function line(parent, spec, one) {
    const latest = (u, k) => (spec.latest ? u.data[k].findLast((v) => !isMissing(v)) : null);
    const count = (u, k) => u.data[k].reduce((sum, v) => sum + !isMissing(v), 0);
    return {
      label: one.label, width: one.width || (one.faint ? 1 : 2), alpha: one.faint ? 0.45 : 1, spanGaps: Boolean(spec.sparse), stroke: () => color(parent, one.color),
      points: { show: (u, k) => Boolean(one.points) || count(u, k) === 1, size: 5, fill: () => color(parent, one.color) },
      fill: one.fill && (() => color(parent, one.color) + "40"), paths: one.steps && uPlot.paths.stepped({ align: 1 }),
      value: (u, v, k, i) => reading(isMissing(i) ? latest(u, k) : v),
    };
  }

  function options(parent, spec) {
    const range = (name) => (spec[name].range ? { range: () => parent.spec[name].range } : {}), last = (u) => (spec.latest ? u.data[0].at(-1) : null);
    const fill = (u, k) => css(spec.series[k - 1].color), mix = (name, percent) => `color-mix(in srgb, ${name} ${percent}%, transparent)`;
    const marker = (u, k) => (spec.series[k - 1].faint ? mix(fill(u, k), 45) : fill(u, k));
    const cursor = { y: false, drag: { x: false, y: false }, points: { size: 7, fill, stroke: fill } };
    if (spec.sparse) cursor.dataIdx = (u, k, i) => (k && i !== null && isMissing(u.data[k][i]) ? nearestPoint(u.data[0], u.data[k], i) : i);
    // Before the first draw, the scales have no limits.
    const hooks = { draw: [(u) => u.mark?.(u.marked)], setCursor: [(u) => u.root.classList.toggle("reading", Number.isInteger(u.cursor.idx))] };
    return {
      hooks, cursor, class: spec.latest ? "latest" : "plain", width: parent.clientWidth || 600, height: spec.height || 240, padding: [10, 30, 0, 0],
      scales: { x: { time: false, ...range("x") }, y: spec.y.log ? { distr: 3, log: 10, range: logRange } : range("y") }, axes: [axis(parent, spec.x, 2), axis(parent, spec.y, 3)],
      legend: { markers: { stroke: marker, fill: (u, k) => (spec.series[k - 1].fill ? mix(fill(u, k), 25) : "transparent") } },
      series: [{ label: spec.x.title, value: (u, v, k, i) => reading(isMissing(i) ? last(u) : v) }, ...spec.series.map((one) => line(parent, spec, one))],
    };
  }

  // The value of a series at x: of the bar that x is in, or on the line between two points.
  function valueAt(xs, ys, x, { steps, log }) {
    const i = xs.findIndex((v) => v >= x);
    if (i < 0 || xs[i] === x || i === 0) return ys[i];
    const before = ys[i - 1], after = ys[i], share = (x - xs[i - 1]) / (xs[i] - xs[i - 1]);
    if (steps || before === null || after === null) return before;
    return log ? Math.exp((1 - share) * Math.log(before) + share * Math.log(after)) : (1 - share) * before + share * after;
  }

  // The marks of t: a vertical line, and a dot on every series. They are elements, so that moving them redraws nothing.
  function marks(chart, spec) {
    const vertical = Object.assign(document.createElement("div"), { className: "chart-t" });
    const dots = spec.series.map((one) => Object.assign(document.createElement("div"), { className: "chart-dot" }));
    chart.over.append(vertical, ...dots);
    return (x) => {
      chart.marked = x;
      vertical.hidden = x === null || x === undefined || x < chart.scales.x.min || x > chart.scales.x.max;
      vertical.style.left = chart.valToPos(x, "x") + "px";
      dots.forEach((dot, k) => {
        const value = valueAt(chart.data[0], chart.data[k + 1], x, { steps: spec.series[k].steps, log: spec.y.log });
        dot.hidden = vertical.hidden || spec.dots === false || value === null || value === undefined;
        if (dot.hidden) return;
        Object.assign(dot.style, { left: chart.valToPos(x, "x") + "px", top: chart.valToPos(value, "y") + "px", background: css(spec.series[k].color) });
      });
    };
  }

  const whenScaled = queueMicrotask; // uPlot 1.6.32 sets the scales in a microtask of its own, which comes first

  // Show the values at the point nearest to x.
  function readAt(chart, x) {
    const xs = chart.data[0], i = xs.reduce((best, v, k) => (Math.abs(v - x) < Math.abs(xs[best] - x) ? k : best), 0);
    chart.setCursor({ left: chart.valToPos(xs[i], "x"), top: 1 });
  }

  function endReading(parent) {
    parent.readX = null;
    parent.chart.setCursor({ left: -10, top: -10 });
  }

  function byKeyboard(parent) {
    parent.addEventListener("keydown", (event) => {
      const chart = parent.chart, xs = chart.data[0], last = xs.length - 1, at = chart.cursor.idx ?? -1, step = event.shiftKey ? 10 : 1;
      const to = { ArrowLeft: at - step, ArrowRight: at + step, Home: 0, End: last }[event.key];
      if (event.key === "Escape") endReading(parent);
      if (to === undefined || last < 0) return;
      event.preventDefault();
      parent.readX = xs[Math.min(Math.max(to, 0), last)];
      readAt(chart, parent.readX);
      const texts = chart.series.map((one, k) => one.label + " " + chart.legend.values[k]._);
      parent.querySelector(".chart-status").textContent = texts.join(", ");
    });
    parent.addEventListener("blur", () => endReading(parent));
    parent.addEventListener("pointermove", () => { parent.readX = null; });
  }

  function follow(parent) {
    byKeyboard(parent);
    new ResizeObserver(() => {
      if (!parent.clientWidth || parent.clientWidth === parent.chart.width) return;
      parent.chart.setSize({ width: parent.clientWidth, height: parent.chart.height });
      if (!isMissing(parent.readX)) whenScaled(() => readAt(parent.chart, parent.readX));
    }).observe(parent);
    new MutationObserver(() => parent.chart.redraw(false)).observe(document.body, { attributeFilter: ["class"] });
  }

  // What a chart is made of, without its numbers.
  const shape = ({ xs, series, mark, x, y, ...rest }) =>
    JSON.stringify([rest, { ...x, range: !x.range }, { ...y, range: !y.range }, series.map(({ values, ...one }) => one)]);

  function build(parent, spec, data) {
    const chart = new uPlot(options(parent, spec), data, parent);
    chart.mark = marks(chart, spec);
    chart.marked = spec.mark;
    parent.append(Object.assign(document.createElement("p"), { className: "chart-status" }));
    parent.lastElementChild.setAttribute("role", "status");
    return chart;
  }

  // spec: { label, height, x: {title, range, whole}, y: {title, log, range}, xs, series: [{label, color, values, fill, steps, faint, points}], mark,
  // sparse, latest }. A color is a CSS color or the name of a custom property. Values of a log axis that are not above 0 are left out.
  // whole: ticks at whole numbers. sparse: the series have points of their own, joined by lines. latest: the legend shows the last values until
  // others are read. Other numbers for the same chart keep what the pointer or the keyboard reads.
  window.lineChart = (parent, spec) => {
    const clean = (values) => values.map((v) => (v === null || !Number.isFinite(v) || (spec.y.log && v <= 0) ? null : v));
    const data = [spec.xs, ...spec.series.map((one) => clean(one.values))], before = parent.chart;
    const isSame = before && parent.contains(before.root) && shape(parent.spec) === shape(spec), pointer = before?.cursor;
    parent.spec = spec;
    if (isSame) {
      before.marked = spec.mark;
      before.setData(data);
    } else {
      before?.destroy();
      parent.replaceChildren();
      parent.classList.add("line-chart");
      parent.tabIndex = 0;
      parent.setAttribute("role", "group");
      parent.setAttribute("aria-label", spec.label + ". Arrow keys read its values.");
      parent.chart = build(parent, spec, data);
      if (!before) follow(parent);
    }
    if (!isMissing(parent.readX)) whenScaled(() => readAt(parent.chart, parent.readX));
    else if (!isSame && pointer?.left >= 0) whenScaled(() => parent.chart.setCursor({ left: pointer.left, top: pointer.top }));
    return parent.chart;
  };
  // Charts that Python wrote as data: <div class="chart" data-chart="JSON of spec"></div>
  window.drawCharts = (root) => {
    for (const parent of root.querySelectorAll("[data-chart]")) {
      // Gradio updates HTML in place: the element stays, with other data and without what was drawn in it.
      const isDrawn = parent.chart && parent.contains(parent.chart.root) && parent.drawnFrom === parent.dataset.chart;
      if (isDrawn || !parent.clientWidth) continue;
      parent.drawnFrom = parent.dataset.chart;
      lineChart(parent, JSON.parse(parent.dataset.chart));
    }
  };
})();
