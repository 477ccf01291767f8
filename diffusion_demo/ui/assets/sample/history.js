// The strip under the results: the newest run first, each in its own order.
const strip = element.querySelector(".strip"), clear = element.querySelector(".clear"), wanted = "Clear";

async function draw() {
  const entries = (await stored()).reverse();
  strip.querySelectorAll("img").forEach((image) => URL.revokeObjectURL(image.src));
  strip.replaceChildren(...entries.map((entry, index) => {
    const button = document.createElement("button"), image = document.createElement("img");
    button.type = "button";
    image.src = URL.createObjectURL(entry.blob);
    image.alt = inWords(entry.settings);
    image.loading = "lazy";
    button.append(image);
    button.addEventListener("click", () => view(entries, index));
    return button;
  }));
  element.querySelector(".count").textContent = entries.length ? entries.length + (entries.length === 1 ? " image" : " images") + ", in this browser alone" : "";
  element.querySelector(".none").hidden = entries.length > 0;
  clear.hidden = !entries.length;
  clear.textContent = wanted;
}

clear.addEventListener("click", async () => {
  if (clear.textContent === wanted) {
    clear.textContent = "Really clear?";
    setTimeout(() => { clear.textContent = wanted; }, 4000);
    return;
  }
  await emptied();
  draw();
});

// A run that is finished tells its files: from a gallery a list, from an image one.
element.addEventListener("made", async (event) => {
  const files = [event.detail].flat().filter(Boolean).map((file) => (file.image || file).url);
  await keep((await Promise.all(files.map(fetched))).reverse()).catch(() => {});
  draw();
});

// Ctrl+Enter starts and Esc stops what is to be seen of this tab.
document.addEventListener("keydown", (event) => {
  if (dialog.open || event.defaultPrevented) return;
  const key = event.key === "Enter" && (event.ctrlKey || event.metaKey) ? ".starts" : event.key === "Escape" ? ".stops" : null;
  const button = key && [...document.querySelectorAll("button" + key)].find((one) => one.offsetParent && !one.disabled);
  if (!button) return;
  event.preventDefault();
  button.click();
}, true);

draw();
