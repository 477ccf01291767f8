// What can be kept: the strip and the figure of a lesson as PNG, and the page on paper.
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

function caption(node) {
  return (node.closest("figure")?.querySelector("figcaption")?.textContent || node.closest(".line-chart")?.getAttribute("aria-label")?.split(".")[0] || "").replace(/\s+/g, " ").trim();
}

// Every visible image and chart of the lesson, with its caption, one under the other or side by side where they fit.
function saveFigure() {
  const shown = [...every(`.part[data-lesson="${state.lesson}"] canvas`), ...document.querySelectorAll("#lesson :is(img, canvas)")].filter((node) => node.clientWidth);
  const wide = 1200, gap = 16, sheet = document.createElement("canvas"), pen = sheet.getContext("2d"), places = [];
  let left = gap, top = 90, row = 0;
  for (const node of shown) {
    const share = Math.min(1, (wide - 2 * gap) / node.clientWidth), width = node.clientWidth * share, height = node.clientHeight * share;
    if (left + width > wide - gap) [left, top, row] = [gap, top + row + 44, 0];
    places.push({ node, left, top, width, height });
    [left, row] = [left + width + gap, Math.max(row, height)];
  }
  Object.assign(sheet, { width: wide, height: top + row + 54 });
  Object.assign(pen, { fillStyle: "white" });
  pen.fillRect(0, 0, sheet.width, sheet.height);
  Object.assign(pen, { fillStyle: "#1e293b", font: "600 22px sans-serif" });
  pen.fillText(find(`.head[data-lesson="${state.lesson}"] h2`).textContent, gap, 36);
  pen.font = "14px sans-serif";
  pen.fillText(settingsLine(), gap, 62);
  for (const { node, left, top, width, height } of places) {
    pen.imageSmoothingEnabled = !node.matches("img");
    if (node.closest(".line-chart") && document.body.classList.contains("dark")) { pen.fillStyle = "#0f172a"; pen.fillRect(left, top, width, height); pen.fillStyle = "#1e293b"; }
    pen.drawImage(node, left, top, width, height);
    markPixel(pen, node, left, top, width);
    pen.fillText(caption(node), left, top + height + 20, Math.max(width, 120));
  }
  Object.assign(document.createElement("a"), { download: `lesson_${state.lesson}_t${state.t}.png`, href: sheet.toDataURL("image/png") }).click();
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

function imageName() {
  const button = [...document.querySelectorAll("#examples button.gallery-item")].find((one) => data.example && one.querySelector("img")?.src.includes(data.example));
  if (button) return button.getAttribute("aria-label").toLowerCase().replace(":", "");
  const file = document.querySelector("#inspect-image img")?.src.split("/").pop();
  return data.example ? "example " + data.example : file ? "file " + decodeURIComponent(file) : "an image of your own";
}

// On paper, the fields of the model and the image are left out.
addEventListener("beforeprint", () => {
  if (data) find(".printed").textContent = `Model: ${modelName()}. Image: ${imageName()}. Noise seed: ${data.seed}.`;
});

const modelName = () => document.querySelector("#lesson-model input")?.value || "model";

function settingsLine() {
  return `${modelName()}, ${chosen().label} schedule, t = ${state.t} of ${data.T}, noise ${data.seed}, ${imageName()}`;
}
