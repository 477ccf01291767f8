// Export of a lesson: its strip as a PNG, and the printed page. The figure is in inspector_figure.js.
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

function imageName() {
  const button = [...document.querySelectorAll("#examples button.gallery-item")].find((one) => data.example && one.querySelector("img")?.src.includes(data.example));
  if (button) return button.getAttribute("aria-label").toLowerCase().replace(":", "");
  const file = document.querySelector("#inspect-image img")?.src.split("/").pop();
  return data.example ? "example " + data.example : file ? "file " + decodeURIComponent(file) : "an image of your own";
}

// On paper, the fields of the model and the image are left out, and the ground is white.
let wasDark = false;
addEventListener("beforeprint", () => {
  if (data) find(".printed").textContent = `Model: ${modelName()}. Image: ${imageName()}. Noise seed: ${data.seed}.`;
  wasDark = document.body.classList.contains("dark");
  document.body.classList.remove("dark");
});
addEventListener("afterprint", () => document.body.classList.toggle("dark", wasDark));

const modelName = () => document.querySelector("#lesson-model input")?.value || "model";

function settingsLine() {
  return `${modelName()}, ${chosen().label} schedule, t = ${state.t} of ${data.T}, noise ${data.seed}, ${imageName()}`;
}
