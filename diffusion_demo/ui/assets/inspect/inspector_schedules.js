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

// Each target in two ways, computed directly and from x_t and u: the identities of flow matching, for the image at t.
function flowTargets(s, t) {
  const abar = VALUES.abar(s, t), a = Math.sqrt(abar), b = Math.sqrt(1 - abar), time = b / (a + b), scale = 1 / (a + b), { x0, eps } = data;
  const direct = new Float64Array(4), viaFlow = new Float64Array(4), largest = new Float64Array(4);
  const compute = (i) => {
    // u as a network that predicts v would give it: u = (v - (1 - 2 tau) x_t) / kappa
    const x = x0[i], e = eps[i], v = a * e - b * x, xt = a * x + b * e, z = scale * xt, u = (v - (1 - 2 * time) * xt) / scale;
    direct[0] = x, viaFlow[0] = z - time * u;
    direct[1] = e, viaFlow[1] = z + (1 - time) * u;
    direct[2] = v, viaFlow[2] = ((1 - 2 * time) * z) / scale + scale * u;
    direct[3] = e - x, viaFlow[3] = u;
  };
  for (let i = 0; i < x0.length; i++) {
    compute(i);
    for (let k = 0; k < 4; k++) largest[k] = Math.max(largest[k], Math.abs(direct[k] - viaFlow[k]));
  }
  compute(3 * (Math.floor(data.size / 2) * data.size + Math.floor(data.size / 2))); // the middle pixel
  return { time, scale, direct, viaFlow, largest };
}

function drawFlow(s, t) {
  const { time, scale, direct, viaFlow, largest } = flowTargets(s, t), filled = find(".flow-filled");
  for (const [place, text] of Object.entries({ ".index": String(t), ".name": s.label, ".flow-time": time.toFixed(4), ".flow-scale": scale.toFixed(4) })) {
    write(filled.querySelector(place), text);
  }
  every(".flow tbody tr").forEach(({ cells }, k) => {
    write(cells[1], fixed(direct[k], 4));
    write(cells[2].lastElementChild, fixed(viaFlow[k], 4));
    write(cells[3], short(largest[k]));
  });
}
