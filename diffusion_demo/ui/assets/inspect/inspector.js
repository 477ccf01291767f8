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

function short(value) {
  if (Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return "∞";
  if (value === 0 || (value >= 1e-3 && value < 1e5)) return String(Number(value.toPrecision(3)));
  const [digits, k] = value.toExponential(2).split("e");
  return digits + " × " + power(Number(k));
}

function paint(canvas, values) {
  if (canvas.width !== data.size) canvas.width = canvas.height = data.size;
  const context = canvas.getContext("2d"), out = context.createImageData(data.size, data.size);
  for (let i = 0, j = 0; i < values.length; i++) {
    out.data[j++] = (values[i] + 1) * 127.5;
    if (i % 3 === 2) out.data[j++] = 255;
  }
  context.putImageData(out, 0, 0);
}

function noised(s, t) {
  const a = Math.sqrt(VALUES.abar(s, t)), b = Math.sqrt(1 - VALUES.abar(s, t));
  return data.x0.map((x, i) => a * x + b * data.eps[i]);
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

function drawNumbers() {
  const t = state.t, abar = VALUES.abar(chosen(), t), a = Math.sqrt(abar), b = Math.sqrt(1 - abar);
  find(".signal-number").textContent = a.toFixed(3);
  find(".noise-number").textContent = b.toFixed(3);
  find(".t-value").textContent = t + " of " + data.T;
  find(".t").setAttribute("aria-valuetext", t + " of " + data.T);
  find(".shares .signal").style.width = 100 * abar + "%";
  find(".shares .signal").textContent = abar > 0.2 ? "signal " + (100 * abar).toFixed(1) + " %" : "";
  find(".shares .noise").textContent = abar < 0.8 ? "noise " + (100 * (1 - abar)).toFixed(1) + " %" : "";
  find(".filled").innerHTML = `x<sub>${t}</sub> = √${abar.toPrecision(4)} x<sub>0</sub> + √${(1 - abar).toPrecision(4)} ε = ` +
    `<b>${a.toFixed(4)}</b> x<sub>0</sub> + <b>${b.toFixed(4)}</b> ε`;
  find(".variance").textContent = (1 - abar).toFixed(4);
  find(".deviation").textContent = b.toFixed(4);
  find(".kl-number").textContent = short(VALUES.kl(chosen(), t));
  const own = named(state.own) === chosen();
  find(".on").textContent = chosen().label + (own ? ", this model's schedule" : `, for comparison (this model: ${(named(state.own) || chosen()).label})`);
  find(".on").classList.toggle("foreign", !own);
  find(".schedule-filled").innerHTML = `At t = ${t} on ${chosen().label}: β<sub>t</sub> = <b>${short(VALUES.beta(chosen(), t))}</b>, ᾱ<sub>t</sub> = <b>${short(abar)}</b>, ` +
    `SNR = ᾱ<sub>t</sub> / (1 − ᾱ<sub>t</sub>) = <b>${short(VALUES.snr(chosen(), t))}</b>`;
  drawFlow(chosen(), t);
  for (const s of data.schedules) find(`.schedules tr[data-name="${s.name}"] .now`).textContent = short(VALUES[state.view](s, t));
}

function drawTime() {
  const xt = noised(chosen(), state.t), nearest = stops().reduce((a, b) => (Math.abs(b - state.t) < Math.abs(a - state.t) ? b : a));
  find(".t").value = state.t;
  paint(find("canvas.small"), xt);
  paint(find("canvas.xt"), xt);
  find("canvas.xt").setAttribute("aria-label", "the image with noise, t = " + state.t);
  for (const frame of every(".frame")) frame.classList.toggle("here", Number(frame.dataset.t) === nearest && frame.dataset.schedule === chosen().name);
  drawNumbers();
  drawHistogram(xt);
  moveCursors();
}
