// The previews of a run, always of the same seeds, with a slider back to the first; it follows the newest unless somebody looks back.
// Beside them are the nearest training images, or the previews of the raw weights.
const find = (selector) => element.querySelector(selector);
const TITLES = { averaged: "Preview", nearest: "Nearest training images", raw: "Preview of the raw weights" };
let chosen = "nearest";

function show(image, frame, kind) {
  if (frame && frame[kind]) image.src = frame[kind];
  else image.removeAttribute("src");
  image.alt = frame && frame[kind] ? TITLES[kind] + " at step " + frame.step : "";
}

function draw(index) {
  const { frames = [], expected } = props.value || {}, frame = frames[index];
  const hasNearest = frames.length ? frames.some((one) => one.nearest) : expected, kind = hasNearest ? chosen : "raw";
  show(find("img.averaged"), frame, "averaged");
  show(find("img.other"), frame, kind);
  for (const button of element.querySelectorAll("[data-view]")) {
    button.setAttribute("aria-pressed", String(button.dataset.view === kind));
    button.hidden = button.dataset.view === "nearest" && !hasNearest;
  }
  const copies = frame && frame.copies ? " " + Math.round(100 * frame.copies) + " % of these images are nearly copies of training images." : "";
  const words = frame ? (frame.step ? "Step " + frame.step.toLocaleString("en") : "Before training") + ", preview " + (index + 1) + " of " + frames.length + "." : "";
  find(".status").textContent = words ? words + copies : (props.value || {}).empty || "";
  find(".scrub").setAttribute("aria-valuetext", words);
  find(".timeline").classList.toggle("empty", !frames.length && !expected);
  find(".timeline").classList.toggle("none", Boolean((props.value || {}).none));
  find(".timeline").hidden = !frames.length && !(props.value || {}).empty;
}

function receive() {
  const scrub = find(".scrub"), last = Math.max(0, ((props.value || {}).frames || []).length - 1);
  const following = Number(scrub.value) === Number(scrub.max);
  scrub.max = last;
  if (following || Number(scrub.value) > last) scrub.value = last;
  scrub.classList.toggle("nothing-to-scrub", last === 0);
  draw(Number(scrub.value));
}

element.addEventListener("input", (event) => {
  if (event.target.matches(".scrub")) draw(Number(event.target.value));
});
element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-view]");
  if (button) { chosen = button.dataset.view; draw(Number(find(".scrub").value)); }
});
watch("value", receive);
receive();
