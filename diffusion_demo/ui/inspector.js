// Forward noising, drawn in the browser at every move of the slider; the tables and the noise come from the package.
const find = (selector) => element.querySelector(selector);
const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
const state = { t: 250, schedule: 0 };
const LEFT = 50, RIGHT = 616, TOP = 12, BOTTOM = 204;
let data = null;

function paint(name, value) {
  const canvas = find("canvas." + name), size = data.size;
  if (canvas.width !== size) canvas.width = canvas.height = size;
  const context = canvas.getContext("2d"), out = context.createImageData(size, size);
  for (let i = 0, j = 0; i < size * size * 3; i++) {
    out.data[j++] = (value(i) + 1) * 127.5;
    if (i % 3 === 2) out.data[j++] = 255;
  }
  context.putImageData(out, 0, 0);
}

const abarAt = (t) => (t === 0 ? 1 : data.schedules[state.schedule].abar[t - 1]);
const across = (t) => LEFT + (t / data.T) * (RIGHT - LEFT);
const up = (share) => BOTTOM - share * (BOTTOM - TOP);

function drawTime() {
  const t = state.t, abar = abarAt(t), a = Math.sqrt(abar), b = Math.sqrt(1 - abar);
  paint("xt", (i) => a * data.x0[i] + b * data.eps[i]);
  find("canvas.xt").setAttribute("aria-label", "the picture with noise, t = " + t);
  find(".signal-number").textContent = a.toFixed(3);
  find(".noise-number").textContent = b.toFixed(3);
  find(".t-value").textContent = t + " of " + data.T;
  find(".shares .signal").style.width = 100 * abar + "%";
  find(".shares .signal").textContent = abar > 0.15 ? "signal " + (100 * abar).toFixed(1) + " %" : "";
  find(".shares .noise").textContent = abar < 0.85 ? "noise " + (100 * (1 - abar)).toFixed(1) + " %" : "";
  find(".filled").innerHTML = `x<sub>${t}</sub> = √${abar.toPrecision(4)} x<sub>0</sub> + √${(1 - abar).toPrecision(4)} ε = ` +
    `<b>${a.toFixed(4)}</b> x<sub>0</sub> + <b>${b.toFixed(4)}</b> ε`;
  const cursor = find(".cursor"), dot = find(".dot");
  cursor.setAttribute("x1", across(t));
  cursor.setAttribute("x2", across(t));
  dot.setAttribute("cx", across(t));
  dot.setAttribute("cy", up(abar));
}

function drawSchedules() {
  const line = (abar) => [1, ...abar].map((share, t) => across(t).toFixed(1) + "," + up(share).toFixed(1)).join(" ");
  const ticks = [0, 0.25, 0.5, 0.75, 1];
  find(".curve").innerHTML =
    ticks.map((s) => `<line class="grid" x1="${LEFT}" x2="${RIGHT}" y1="${up(s)}" y2="${up(s)}"/><text x="${LEFT - 8}" y="${up(s) + 4}" text-anchor="end">${s}</text>`).join("") +
    ticks.map((s) => `<text x="${across(s * data.T)}" y="${BOTTOM + 18}" text-anchor="middle">${Math.round(s * data.T)}</text>`).join("") +
    `<text x="${(LEFT + RIGHT) / 2}" y="${BOTTOM + 34}" text-anchor="middle">t</text>` +
    `<text x="${LEFT + 8}" y="${up(0) - 8}">share of signal, ᾱ</text>` +
    data.schedules.map((s, i) => `<polyline class="line line-${i} ${i === state.schedule ? "chosen" : ""}" points="${line(s.abar)}"/>`).join("") +
    `<line class="cursor" y1="${TOP}" y2="${BOTTOM}"/><circle class="dot line-${state.schedule}" r="5"/>`;
  find(".choices").innerHTML = data.schedules
    .map((s, i) => `<label><input type="radio" name="inspect-schedule" value="${i}" ${i === state.schedule ? "checked" : ""}><span class="key line-${i}"></span>${s.label}</label>`)
    .join("");
}

function show() {
  const value = props.value;
  if (!value || !value.x0) return;
  const x0 = bytes(value.x0), eps = new Float32Array(bytes(value.eps).buffer);
  data = { ...value, x0: Float32Array.from(x0, (v) => v / 127.5 - 1), eps };
  find(".t").max = data.T;
  find(".t").value = state.t;
  paint("x0", (i) => data.x0[i]);
  paint("eps", (i) => data.eps[i] / 3);
  drawSchedules();
  drawTime();
}

element.addEventListener("input", (event) => {
  if (!data) return;
  if (event.target.matches(".t")) state.t = Number(event.target.value);
  if (event.target.name === "inspect-schedule") {
    state.schedule = Number(event.target.value);
    drawSchedules();
    find(`.choices input[value="${state.schedule}"]`).focus();
  }
  drawTime();
});
watch("value", show);
show();
