// The charts of the explorer: histogram, divergence and schedules.
const BINS = 64, WIDEST = 4, LEAST = 1e-9, WASTED = 0.01, MOST_POINTS = 400;
const VIEW_NAMES = { abar: "ᾱ at t", beta: "β at t", snr: "SNR at t" };
const VIEW_TITLES = { abar: "ᾱ, share of signal", beta: "β, noise of one step", snr: "SNR, signal / noise", kl: "bits/dim" };

function drawLines(parent, height, view) {
  const skip = Math.ceil(data.T / MOST_POINTS), xs = Array.from({ length: data.T + 1 }, (_, t) => t).filter((t) => t % skip === 0 || t === data.T);
  const series = drawn().map((s) => ({
    label: s.label, color: `--line-${s.name}`, width: s === chosen() ? 3 : 1.5,
    values: xs.map((t) => (view === "abar" ? VALUES.abar(s, t) : Math.max(VALUES[view](s, t), view === "beta" ? 0 : LEAST))),
  }));
  const y = view === "abar" ? { title: VIEW_TITLES.abar, range: [0, 1] } : { title: VIEW_TITLES[view], log: true };
  lineChart(parent, { label: VIEW_TITLES[view] + " over t", height, x: { title: "t" }, y, xs, series, mark: state.t });
}

function drawHistogram(xt) {
  const counts = new Array(BINS).fill(0), width = (2 * WIDEST) / BINS, chart = find(".histogram").chart;
  let sum = 0, squares = 0;
  for (const v of xt) {
    const bin = Math.floor((v + WIDEST) / width);
    if (bin >= 0 && bin < BINS) counts[bin]++;
    sum += v;
    squares += v * v;
  }
  const mean = sum / xt.length, densities = counts.map((n) => Math.min(n / xt.length / width, 1));
  if (chart) chart.setData([chart.data[0], [...densities, 0], chart.data[2]]);
  write(find(".mean"), fixed(mean, 3));
  write(find(".spread"), Math.sqrt(squares / xt.length - mean * mean).toFixed(3));
}

function drawPlots() {
  if (state.lesson === "forward") {
    const xs = Array.from({ length: BINS + 1 }, (_, i) => -WIDEST + (i * 2 * WIDEST) / BINS);
    const normal = { label: "standard normal", color: "--line-linear", values: xs.map((v) => Math.exp((-v * v) / 2) / Math.sqrt(2 * Math.PI)) };
    const bars = { label: "noisy image", color: "--line-squaredcos_cap_v2", values: xs.map(() => 0), steps: true, fill: true, width: 1 };
    lineChart(find(".histogram"), { label: "Pixel values of the noisy image", height: 190, x: { title: "pixel value" }, y: { title: "density", range: [0, 1] }, xs, series: [bars, normal] });
    drawLines(find(".kl"), 190, "kl");
  }
  if (state.lesson === "schedules") drawLines(find(".curve"), 320, state.view);
}
