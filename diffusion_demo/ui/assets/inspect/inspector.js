// Forward noising, drawn in the browser at every move of t; the tables and the noise come from the package.
const find = (selector) => element.querySelector(selector), every = (selector) => [...element.querySelectorAll(selector)];
const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0)), doubles = (text) => new Float64Array(bytes(text).buffer);
const state = { t: null, lesson: "forward", schedule: "squaredcos_cap_v2", own: "squaredcos_cap_v2", drawn: new Set(["linear", "squaredcos_cap_v2", "flow"]), view: "abar" };
const VALUES = {
  abar: (s, t) => (t ? s.abar[t - 1] : 1),
  beta: (s, t) => (t ? s.betas[t - 1] : NaN),
  snr: (s, t) => VALUES.abar(s, t) / (1 - VALUES.abar(s, t)),
  kl: (s, t) => (t ? s.kl[t - 1] ?? NaN : Infinity),
};
const FRAMES = 9;
let data = null;

const named = (name) => data.schedules.find((s) => s.name === name);
// Only the lessons on the forward process and on schedules may use another schedule than the model's own.
const compares = () => ["forward", "schedules"].includes(state.lesson);
const chosen = () => (compares() && named(state.schedule)) || named(state.own) || data.schedules[0];
const drawn = () => data.schedules.filter((s) => s === chosen() || state.drawn.has(s.name));
const stops = () => [...new Set(Array.from({ length: FRAMES }, (_, i) => Math.round((i * data.T) / (FRAMES - 1))))];
const power = (k) => "10" + [...String(k)].map((c) => (c === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[c])).join("");

function fixed(value, decimals) {
  const text = value.toFixed(decimals);
  return Number(text) === 0 ? text.replace("-", "") : text.replace("-", "−");
}

function short(value) {
  if (Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return "∞";
  if (value === 0 || (value >= 100 && value < 1e5)) return String(Number(value.toPrecision(3)));
  if (value >= 1e-3 && value < 100) return value.toPrecision(3);
  const [digits, k] = value.toExponential(2).split("e");
  return digits + " × " + power(Number(k));
}

// What stands below a root sign: a power of ten needs brackets there.
const rooted = (value) => (value === 0 || value >= 1e-3 ? value.toPrecision(4) : `(${short(value)})`);

// An element is not replaced by its own new text: that would style and lay out what surrounds it again at every move of t.
function write(node, text) {
  const only = node.firstChild;
  if (only?.nodeType !== Node.TEXT_NODE) node.textContent = text;
  else if (only.nodeValue !== text) only.nodeValue = text;
}

function paint(canvas, values) {
  if (canvas.width !== data.size) canvas.width = canvas.height = data.size;
  const out = (data.image ??= new ImageData(data.size, data.size)), rgba = out.data;
  for (let i = 0, j = 0; i < values.length; i += 3, j += 4) {
    rgba[j] = (values[i] + 1) * 127.5;
    rgba[j + 1] = (values[i + 1] + 1) * 127.5;
    rgba[j + 2] = (values[i + 2] + 1) * 127.5;
    rgba[j + 3] = 255;
  }
  canvas.getContext("2d").putImageData(out, 0, 0);
}

// The result is overwritten by the next call.
function noised(s, t) {
  const a = Math.sqrt(VALUES.abar(s, t)), b = Math.sqrt(1 - VALUES.abar(s, t)), { x0, eps } = data;
  const xt = (data.xt ??= new Float32Array(x0.length));
  for (let i = 0; i < xt.length; i++) xt[i] = a * x0[i] + b * eps[i];
  return xt;
}

function drawStrip(parent, s) {
  parent.replaceChildren(...stops().map((t) => {
    const button = document.createElement("button"), canvas = document.createElement("canvas");
    Object.assign(button, { type: "button", className: "frame" });
    Object.assign(button.dataset, { t, schedule: s.name });
    button.setAttribute("aria-label", `${s.label}, go to t = ${t}`);
    paint(canvas, noised(s, t));
    button.append(canvas, String(t));
    return button;
  }));
}

function drawShares(abar) {
  find(".shares .signal").style.width = 100 * abar + "%";
  write(find(".shares .signal"), abar > 0.2 ? "signal " + (100 * abar).toFixed(1) + " %" : "");
  write(find(".shares .noise"), abar < 0.8 ? "noise " + (100 * (1 - abar)).toFixed(1) + " %" : "");
}

// Only the open lesson is drawn: the others are when they open.
const DRAWN = {
  forward(xt) {
    const t = state.t, abar = VALUES.abar(chosen(), t), a = Math.sqrt(abar), b = Math.sqrt(1 - abar);
    paint(find("canvas.xt"), xt);
    find("canvas.xt").setAttribute("aria-label", "the image with noise, t = " + t);
    drawShares(abar);
    const texts = { ".signal-number": a.toFixed(3), ".noise-number": b.toFixed(3), ".making .index": String(t), ".kept": rooted(abar), ".lost": rooted(1 - abar),
      ".signal-factor": a.toFixed(4), ".noise-factor": b.toFixed(4),
      ".variance": (1 - abar).toFixed(4), ".deviation": b.toFixed(4), ".kl-number": short(VALUES.kl(chosen(), t)) };
    for (const [place, text] of Object.entries(texts)) write(find(place), text);
    drawHistogram(xt);
    find(".kl").chart?.mark(t);
  },
  schedules() {
    const s = chosen(), t = state.t, filled = find(".schedule-filled");
    const texts = { ".index": String(t), ".name": s.label, ".beta": short(VALUES.beta(s, t)), ".abar": short(VALUES.abar(s, t)), ".ratio": short(VALUES.snr(s, t)) };
    for (const [place, text] of Object.entries(texts)) write(filled.querySelector(place), text);
    for (const one of data.schedules) write(find(`.schedules tr[data-name="${one.name}"] .now`), short(VALUES[state.view](one, t)));
    drawFlow(s, t);
    find(".curve").chart?.mark(t);
  },
};

function drawTime() {
  const s = chosen(), t = state.t, xt = noised(s, t), nearest = stops().reduce((a, b) => (Math.abs(b - t) < Math.abs(a - t) ? b : a)), own = named(state.own) === s;
  find(".t").value = t;
  find(".t").setAttribute("aria-valuetext", t + " of " + data.T);
  write(find(".t-value"), t + " of " + data.T);
  write(find(".on"), s.label + (own ? ", this model's schedule" : `, for comparison (this model: ${(named(state.own) || s).label})`));
  find(".on").classList.toggle("foreign", !own);
  paint(find("canvas.small"), xt);
  for (const frame of every(".frame")) frame.classList.toggle("here", Number(frame.dataset.t) === nearest && frame.dataset.schedule === s.name);
  DRAWN[state.lesson]?.(xt);
}
