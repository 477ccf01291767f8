// The figure of a lesson as one PNG: every visible image and chart, with captions, legends and marks.

// Return the text of an element on one line, with subscripts written as in x_0.
function plain(node) {
  const copy = node.cloneNode(true);
  for (const index of copy.querySelectorAll("sub, msub > :last-child")) index.prepend("_");
  return copy.textContent.replace(/\s+/g, " ").trim();
}

function caption(node) {
  const { schedule, t } = node.closest(".frame")?.dataset || {}, figure = node.closest("figure"), text = figure?.querySelector("figcaption");
  if (t) return state.lesson === "schedules" ? `${named(schedule).label}, t = ${t}` : "t = " + t;
  if (!text) return node.closest(".line-chart")?.getAttribute("aria-label")?.split(".")[0] || "";
  const columns = figure.previousElementSibling, names = columns?.matches("ol") ? [...columns.children].map(plain) : [];
  return plain(text) + (names.length ? `. From the left: ${names.join(", ")}` : "");
}

// Break a text into lines no wider than `width`.
function wrapped(pen, text, width) {
  const lines = [""];
  for (const word of text.split(" ")) {
    const longer = (lines.at(-1) + " " + word).trim();
    if (lines.at(-1) && pen.measureText(longer).width > width) lines.push(word);
    else lines[lines.length - 1] = longer;
  }
  return lines;
}

const WIDE = 1200, GAP = 16, LINE = 18;
const groupOf = (node) => node.closest(".beside") || node.closest(".strip, .images, .sum, .ending, .chart, .curve");

// Return the places of the images and charts: side by side where they belong together and fit, each above its caption.
function place(shown, pen) {
  const places = [], inner = WIDE - 2 * GAP;
  let left = GAP, top = 90, row = 0, before = null;
  for (const node of shown) {
    const group = groupOf(node), count = node.closest(".frame") ? group.children.length : 0;
    const width = count ? (inner - (count - 1) * GAP) / count : Math.min(inner, node.clientWidth), height = (node.clientHeight * width) / node.clientWidth;
    const lines = wrapped(pen, caption(node), Math.max(width, 120)), series = node.closest(".line-chart")?.spec.series || [];
    if (before && (group !== before || left + width > WIDE - GAP + 1)) [left, top, row] = [GAP, top + row + GAP, 0];
    places.push({ node, left, top, width, height, lines, series });
    [left, row, before] = [left + width + GAP, Math.max(row, height + LINE * (lines.length + (series.length ? 1 : 0)) + 8), group];
  }
  return [places, top + row + GAP];
}

// Download the figure of the open lesson.
function saveFigure() {
  const shown = [...every(`.part[data-lesson="${state.lesson}"] canvas`), ...document.querySelectorAll("#lesson :is(img, canvas)")].filter((node) => node.clientWidth);
  const sheet = document.createElement("canvas"), pen = sheet.getContext("2d"), text = { fillStyle: "#1e293b", font: "14px sans-serif" };
  Object.assign(pen, text);
  const [places, height] = place(shown, pen);
  Object.assign(sheet, { width: WIDE, height });
  Object.assign(pen, { fillStyle: "white" });
  pen.fillRect(0, 0, WIDE, height);
  Object.assign(pen, text, { font: "600 22px sans-serif" });
  pen.fillText(find(`.head[data-lesson="${state.lesson}"] h2`).textContent, GAP, 36);
  Object.assign(pen, text);
  pen.fillText(settingsLine(), GAP, 62);
  for (const one of places) {
    drawImage(pen, one);
    Object.assign(pen, text);
    const below = one.top + one.height + LINE + (drawLegend(pen, one) ? LINE : 0);
    one.lines.forEach((line, i) => pen.fillText(line, one.left, below + i * LINE));
  }
  Object.assign(document.createElement("a"), { download: `lesson_${state.lesson}_t${state.t}.png`, href: sheet.toDataURL("image/png") }).click();
}

function drawImage(pen, { node, left, top, width, height }) {
  const chart = node.closest(".line-chart");
  pen.imageSmoothingEnabled = !node.matches("img");
  Object.assign(pen, { fillStyle: "#0f172a" });
  if (chart && document.body.classList.contains("dark")) pen.fillRect(left, top, width, height);
  pen.drawImage(node, left, top, width, height);
  if (chart) drawMarks(pen, node, chart, left, top, width);
  else markPixel(pen, node, left, top, width);
}

// The marks of t are elements above the chart, so a copy of its canvas lacks them.
function drawMarks(pen, node, chart, left, top, width) {
  const from = node.getBoundingClientRect(), scale = width / from.width;
  for (const mark of chart.querySelectorAll(":is(.chart-t, .chart-dot):not([hidden])")) {
    const at = mark.getBoundingClientRect(), x = left + scale * (at.left + at.width / 2 - from.left), y = top + scale * (at.top - from.top);
    pen.beginPath();
    if (mark.matches(".chart-t")) {
      Object.assign(pen, { strokeStyle: getComputedStyle(mark).borderLeftColor, lineWidth: 2 });
      pen.setLineDash([5, 4]);
      pen.moveTo(x, y);
      pen.lineTo(x, y + scale * at.height);
      pen.stroke();
      pen.setLineDash([]);
    } else {
      pen.fillStyle = getComputedStyle(mark).backgroundColor;
      pen.arc(x, y + (scale * at.height) / 2, 4, 0, 2 * Math.PI);
      pen.fill();
    }
  }
}

// Draw the legend of a chart: a sample of each line and its name. Return whether the chart has lines.
function drawLegend(pen, { node, left, top, height, series }) {
  const style = series.length && getComputedStyle(node.closest(".line-chart"));
  let x = left;
  for (const { label, color } of series) {
    pen.fillStyle = color.startsWith("--") ? style.getPropertyValue(color) : color;
    pen.fillRect(x, top + height + 11, 18, 4);
    pen.fillStyle = "#1e293b";
    pen.fillText(label, x + 24, top + height + LINE);
    x += pen.measureText(label).width + 44;
  }
  return series.length > 0;
}

// The mark of a pixel is an element above its image, so a copy of the image lacks it.
function markPixel(pen, node, left, top, width) {
  const mark = node.parentElement.querySelector(":scope > .pixel");
  if (!mark) return;
  const scale = width / node.clientWidth, side = mark.offsetWidth * scale, x = left + mark.offsetLeft * scale - side / 2, y = top + mark.offsetTop * scale - side / 2;
  for (const [color, margin] of [["black", 2.5], ["white", 1]]) {
    Object.assign(pen, { strokeStyle: color, lineWidth: 2 });
    pen.strokeRect(x - margin, y - margin, side + 2 * margin, side + 2 * margin);
  }
}
