// The previews of a run, always of the same seeds, with a slider back to the first; it follows the newest unless somebody looks back.
const find = (selector) => element.querySelector(selector);

function draw(index) {
  const frames = (props.value || {}).frames || [], frame = frames[index];
  for (const name of ["averaged", "raw"]) {
    const image = find("img." + name);
    if (frame && frame[name]) image.src = frame[name];
    else image.removeAttribute("src");
    image.alt = frame ? "preview at step " + frame.step : "";
  }
  const words = frame ? (frame.step ? "Step " + frame.step.toLocaleString("en") : "Before training") + ", preview " + (index + 1) + " of " + frames.length + "." : "";
  find(".status").textContent = words || (props.value || {}).empty || "";
  find(".scrub").setAttribute("aria-valuetext", words);
}

function receive() {
  const scrub = find(".scrub"), last = Math.max(0, ((props.value || {}).frames || []).length - 1);
  const following = Number(scrub.value) === Number(scrub.max);
  scrub.max = last;
  if (following || Number(scrub.value) > last) scrub.value = last;
  scrub.hidden = last === 0;
  draw(Number(scrub.value));
}

element.addEventListener("input", (event) => {
  if (event.target.matches(".scrub")) draw(Number(event.target.value));
});
watch("value", receive);
receive();
