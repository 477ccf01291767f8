// The list of schedules, their strips, and what they have to do with flow matching.
function listSchedules() {
  const end = (s) => (s.warning ? `<span class="bad">✗ image left</span>` : `<span class="good">✓ ends in noise</span>`);
  find(".schedules tbody").innerHTML = data.schedules.map((s) => `<tr data-name="${s.name}"><td><input type="checkbox" value="${s.name}" aria-label="show ${s.label}"></td>` +
    `<td><input type="radio" name="inspect-schedule" value="${s.name}" aria-label="select ${s.label}"></td>` +
    `<th scope="row"><span class="key line-${s.name}"></span>${s.label}</th><td class="now"></td><td class="snr"><span>${short(s.snr)}</span> ${end(s)}</td></tr>`).join("");
}

function drawSchedules() {
  for (const box of every(".schedules tbody input")) {
    box.checked = box.type === "radio" ? box.value === chosen().name : drawn().includes(named(box.value));
    if (box.type === "checkbox") box.disabled = box.value === chosen().name;
  }
  find(".now-name").textContent = VIEW_NAMES[state.view];
  const warned = drawn().filter((s) => s.warning).map((s) => `${s.label}: ${s.warning}.`);
  find(".missing").textContent = [...data.missing.map((s) => `Left out: ${s.why}.`), ...warned].join(" ");
  find(".kl-end").textContent = short(VALUES.kl(chosen(), data.T));
  drawStrip(find(".strip.main"), chosen());
  const strips = find(".strips"), key = [data.number, ...drawn().map((s) => s.name)].join();
  if (strips.dataset.key !== key) {
    strips.dataset.key = key;
    strips.replaceChildren(...drawn().map((s) => {
      const row = document.createElement("div"), from = s.abar.findIndex((v) => v < WASTED) + 1;
      const told = from ? `ᾱ is below ${WASTED} from t = ${from} on: ${Math.round((100 * (data.T - from + 1)) / data.T)} % of the steps` : `ᾱ stays above ${WASTED}`;
      row.innerHTML = `<p><span class="key line-${s.name}"></span><b>${s.label}</b> <span class="told">${told}</span></p><div class="strip" role="group"></div>`;
      row.lastChild.setAttribute("aria-label", s.label + ", from t = 0 to T");
      drawStrip(row.lastChild, s);
      return row;
    }));
  }
  drawPlots();
  drawTime();
}

// z, the velocity u, and each target computed from x_t and u: the identities of flow matching, for the image at t.
function flowTargets(s, t) {
  const abar = VALUES.abar(s, t), a = Math.sqrt(abar), b = Math.sqrt(1 - abar), time = b / (a + b), c = 1 / (a + b);
  const rows = {
    "x₀": [(x) => x, (x, e, z, u) => z - time * u],
    "ε": [(x, e) => e, (x, e, z, u) => z + (1 - time) * u],
    "v": [(x, e) => a * e - b * x, (x, e, z, u) => ((1 - 2 * time) * z) / c + c * u],
    "u": [(x, e) => e - x, (x, e, z, u) => u],
  };
  const middle = 3 * (Math.floor(data.size / 2) * data.size + Math.floor(data.size / 2)), x0 = data.x0, eps = data.eps;
  return { time, c, rows: Object.entries(rows).map(([name, [direct, viaFlow]]) => {
    let largest = 0, shown = null;
    for (let i = 0; i < x0.length; i++) {
      // u as a network that predicts v would give it: u = (v - (1 - 2s) x_t) / c
      const xt = a * x0[i] + b * eps[i], z = c * xt, u = (a * eps[i] - b * x0[i] - (1 - 2 * time) * xt) / c;
      const one = direct(x0[i], eps[i]), other = viaFlow(x0[i], eps[i], z, u);
      largest = Math.max(largest, Math.abs(one - other));
      if (i === middle) shown = [one, other];
    }
    return { name, shown, largest };
  }) };
}

const FORMULAS = { "x₀": "c x<sub>t</sub> − s u", "ε": "c x<sub>t</sub> + (1 − s) u", "v": "(1 − 2s) x<sub>t</sub> + c u", "u": "(v − (1 − 2s) x<sub>t</sub>) / c" };

function drawFlow(s, t) {
  if (state.lesson !== "schedules") return;
  const flow = flowTargets(s, t);
  find(".flow-filled").innerHTML = `At t = ${t} on ${s.label}: s = <b class="flow-time">${flow.time.toFixed(4)}</b>, c = <b class="flow-scale">${flow.c.toFixed(4)}</b>`;
  find(".flow tbody").innerHTML = flow.rows.map(({ name, shown, largest }) => `<tr data-target="${name}"><th scope="row">${name}</th><td>${shown[0].toFixed(4)}</td>` +
    `<td>${FORMULAS[name]} = ${shown[1].toFixed(4)}</td><td>${short(largest)}</td></tr>`).join("");
}
