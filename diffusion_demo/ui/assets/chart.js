// Line charts, drawn by uPlot (vendor/uplot): titled axes, powers of ten, values under the pointer or the arrow keys.
(() => {
  const power = (k) => "10" + [...String(k)].map((c) => (c === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[c])).join("");
  const isPower = (v) => Math.abs(Math.log10(v) - Math.round(Math.log10(v))) < 1e-9;
  const reading = (v) => (v === null || v === undefined ? "–" : v !== 0 && Math.abs(v) < 1e-3 ? v.toExponential(2) : String(Number(v.toPrecision(4))));
  const color = (parent, name) => (name.startsWith("--") ? getComputedStyle(parent).getPropertyValue(name).trim() : name);

  function axis(parent, { title, log }, side) {
    const axes = { label: title + (log ? " (log)" : ""), labelSize: 22, labelGap: 0, font: "12px system-ui", labelFont: "12px system-ui", size: side === 3 ? 56 : 30 };
    axes.stroke = () => color(parent, "--body-text-color-subdued");
    axes.grid = axes.ticks = { stroke: () => color(parent, "--border-color-primary"), width: 1 };
    // On a log axis only powers of ten are labeled, and no more than five of them.
    if (log) {
      axes.values = (u, splits) => {
        const tens = splits.filter((v) => v > 0 && isPower(v)).map((v) => Math.round(Math.log10(v))), every = Math.ceil(tens.length / 5);
        return splits.map((v) => (v > 0 && isPower(v) && (Math.round(Math.log10(v)) - tens[0]) % every === 0 ? power(Math.round(Math.log10(v))) : ""));
      };
      axes.filter = axes.grid.filter = (u, splits) => splits.map((v) => (v > 0 && isPower(v) ? v : null));
    }
    return axes;
  }

  function options(parent, spec) {
    const series = spec.series.map((one) => ({
      label: one.label, width: one.width || 2, points: { show: Boolean(one.points), size: 5 }, stroke: () => color(parent, one.color),
      fill: one.fill && (() => color(parent, one.color) + "40"), paths: one.steps && uPlot.paths.stepped({ align: 1 }), value: (u, v) => reading(v),
    }));
    const y = spec.y.log ? { distr: 3, log: 10 } : spec.y.range ? { range: spec.y.range } : {};
    const hooks = { draw: [(u) => u.mark?.(u.marked)], setCursor: [(u) => u.root.classList.toggle("reading", Number.isInteger(u.cursor.idx))] }; // before the first draw, the scales have no limits
    return {
      hooks, width: parent.clientWidth || 600, height: spec.height || 240, scales: { x: { time: false }, y }, axes: [axis(parent, spec.x, 2), axis(parent, spec.y, 3)],
      series: [{ label: spec.x.title, value: (u, v) => reading(v) }, ...series], cursor: { drag: { x: false, y: false }, points: { size: 7 } }, padding: [10, 26, 0, 0],
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
    const line = Object.assign(document.createElement("div"), { className: "chart-t" });
    const dots = spec.series.map((one) => Object.assign(document.createElement("div"), { className: "chart-dot" }));
    chart.over.append(line, ...dots);
    return (x) => {
      chart.marked = x;
      line.hidden = x === null || x === undefined || x < chart.scales.x.min || x > chart.scales.x.max;
      line.style.left = chart.valToPos(x, "x") + "px";
      dots.forEach((dot, k) => {
        const value = valueAt(chart.data[0], chart.data[k + 1], x, { steps: spec.series[k].steps, log: spec.y.log });
        dot.hidden = line.hidden || spec.dots === false || value === null || value === undefined;
        if (dot.hidden) return;
        Object.assign(dot.style, { left: chart.valToPos(x, "x") + "px", top: chart.valToPos(value, "y") + "px", background: color(chart.root, spec.series[k].color) });
      });
    };
  }

  function byKeyboard(parent, chart) {
    parent.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key], last = chart.data[0].length - 1;
      if (!step) return;
      event.preventDefault();
      const i = Math.min(Math.max((chart.cursor.idx ?? -1) + step * (event.shiftKey ? 10 : 1), 0), last);
      chart.setCursor({ left: chart.valToPos(chart.data[0][i], "x"), top: 1 });
    });
  }

  // spec: { label, height, x: {title}, y: {title, log, range}, xs, series: [{label, color, values, fill, steps}], mark }
  // A color is a CSS color or the name of a custom property. Values of a log axis that are not above 0 are left out.
  window.lineChart = (parent, spec) => {
    parent.chart?.destroy();
    parent.replaceChildren();
    parent.classList.add("line-chart");
    parent.tabIndex = 0;
    parent.setAttribute("role", "group");
    parent.setAttribute("aria-label", spec.label + ". Arrow keys read its values.");
    const clean = (values) => values.map((v) => (v === null || !Number.isFinite(v) || (spec.y.log && v <= 0) ? null : v));
    const chart = new uPlot(options(parent, spec), [spec.xs, ...spec.series.map((one) => clean(one.values))], parent);
    chart.mark = marks(chart, spec);
    chart.marked = spec.mark;
    if (!parent.chart) {
      byKeyboard(parent, { get data() { return parent.chart.data; }, get cursor() { return parent.chart.cursor; }, setCursor: (to) => parent.chart.setCursor(to), valToPos: (...at) => parent.chart.valToPos(...at) });
      new ResizeObserver(() => {
        if (!parent.clientWidth || parent.clientWidth === parent.chart.width) return;
        parent.chart.setSize({ width: parent.clientWidth, height: parent.chart.height });
      }).observe(parent);
      new MutationObserver(() => parent.chart.redraw(false)).observe(document.body, { attributeFilter: ["class"] });
    }
    parent.chart = chart;
    return chart;
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
