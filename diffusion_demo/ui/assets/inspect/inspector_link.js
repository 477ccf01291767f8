// The list of schedules and their strips; the link to what is shown, the image to keep, and what a person does.
function listSchedules() {
  const end = (s) => (s.warning ? `<span class="bad">✗ image left</span>` : `<span class="good">✓ ends in noise</span>`);
  find("tbody").innerHTML = data.schedules.map((s) => `<tr data-name="${s.name}"><td><input type="checkbox" value="${s.name}" aria-label="show ${s.label}"></td>` +
    `<td><input type="radio" name="inspect-schedule" value="${s.name}" aria-label="select ${s.label}"></td>` +
    `<th scope="row"><span class="key line-${s.name}"></span>${s.label}</th><td class="now"></td><td class="snr"><span>${short(s.snr)}</span> ${end(s)}</td></tr>`).join("");
}

function drawSchedules() {
  for (const box of every("tbody input")) {
    box.checked = box.type === "radio" ? box.value === state.schedule : drawn().includes(named(box.value));
    if (box.type === "checkbox") box.disabled = box.value === state.schedule;
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

function address(base) {
  const url = new URL(base), { T, seed, example } = data;
  const says = { tab: "inspect", example, schedule: state.schedule, t: state.t, T: T === 1000 ? null : T, noise: seed || null };
  for (const [name, value] of Object.entries(says)) value === null ? url.searchParams.delete(name) : url.searchParams.set(name, value);
  return url.href;
}

function showLink() {
  const url = address(location.origin + location.pathname);
  find(".link").href = url;
  find(".link").textContent = decodeURIComponent(new URL(url).search) + (data.example ? "" : " (an image of your own stays with you)");
  find(".copied").textContent = "";
}

function release() {
  history.replaceState(history.state, "", address(location.href));
  showLink();
  trigger("release", { t: state.t, schedule: state.schedule, T: data.T });
}

async function copyLink() {
  const link = find(".link");
  try {
    await navigator.clipboard.writeText(link.href);
    find(".copied").textContent = "Copied.";
  } catch {
    find(".copied").textContent = "This browser does not let the page copy: copy the address of the link.";
  }
}

function saveStrip() {
  const frames = every(".strip.main canvas"), side = data.size, gap = 8, sheet = document.createElement("canvas"), pen = sheet.getContext("2d");
  Object.assign(sheet, { width: gap + frames.length * (side + gap), height: side + 60 });
  Object.assign(pen, { fillStyle: "white" });
  pen.fillRect(0, 0, sheet.width, sheet.height);
  Object.assign(pen, { fillStyle: "#1e293b", font: "14px sans-serif" });
  frames.forEach((frame, i) => {
    const text = "t = " + stops()[i], left = gap + i * (side + gap);
    pen.drawImage(frame, left, gap);
    pen.fillText(text, left + (side - pen.measureText(text).width) / 2, side + 28);
  });
  pen.fillText(`${chosen().label} schedule, T = ${data.T}`, gap, side + 50);
  const link = Object.assign(document.createElement("a"), { download: `forward_${state.schedule}_T${data.T}.png`, href: sheet.toDataURL("image/png") });
  link.click();
}
