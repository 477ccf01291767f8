// The stage: two contact sheets and a slider that scrubs through the steps; drawn in the browser, without a request.
const find = (selector) => element.querySelector(selector);

function draw(index) {
  const film = props.value, frame = film.frames[index];
  for (const name of ["xt", "x0"]) {
    const image = find("img." + name);
    image.src = frame[name];
    image.alt = (name === "xt" ? "the pictures so far" : "the pictures that the network expects") + ", step " + frame.step + " of " + film.total;
  }
  const scrub = find(".scrub");
  scrub.setAttribute("aria-valuetext", "step " + frame.step + " of " + film.total);
  find(".status").textContent = film.live ? film.status : "Step " + frame.step + " of " + film.total + ", t = " + frame.t + ". " + film.status;
}

function show() {
  const film = props.value;
  const stage = find(".stage");
  if (!film || !film.frames) return;
  stage.classList.toggle("live", film.live);
  const scrub = find(".scrub"), last = film.frames.length - 1;
  scrub.max = film.live ? film.total : last;
  scrub.value = film.live ? film.frames[last].step : last;
  scrub.disabled = film.live;
  draw(last);
}

element.addEventListener("input", (event) => {
  if (event.target.matches(".scrub")) draw(Number(event.target.value));
});
watch("value", show);
show();
