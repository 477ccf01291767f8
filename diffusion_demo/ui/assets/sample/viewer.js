// One image, large, with its settings in words: arrow keys and swipes turn to the next one, Esc closes.
const dialog = element.querySelector(".viewer"), inDialog = (selector) => dialog.querySelector(selector);
let shown = [], at = 0, began = null, address = null;

async function view(entries, index) {
  shown = entries;
  if (!dialog.open) dialog.showModal();
  await turnTo(index);
}

async function turnTo(index) {
  if (index < 0 || index >= shown.length) return;
  at = index;
  const entry = (shown[at] = shown[at].blob ? shown[at] : await fetched(shown[at].url));
  if (at !== index) return;
  const old = address;
  address = URL.createObjectURL(entry.blob);
  inDialog("img").src = inDialog(".download").href = address;
  if (old) URL.revokeObjectURL(old);
  inDialog(".download").download = entry.name;
  inDialog("img").alt = inDialog(".words").textContent = inWords(entry.settings);
  const grid = entry.settings && entry.settings.made_by === "compare";
  inDialog("img").classList.toggle("grid", Boolean(grid));
  inDialog(".use").hidden = !entry.settings || Boolean(entry.settings.made_by);
  inDialog(".vary").hidden = inDialog(".mix").hidden = Boolean(grid);
  dialog.focus(); // a button that is switched off while it has the focus would swallow the keys
  inDialog(".back").disabled = at === 0;
  inDialog(".on").disabled = at === shown.length - 1;
}

// The image goes up as if it had been dropped on the field, and only because somebody asked for it.
async function handOver(event) {
  const { name, blob, settings } = shown[at];
  const { path, url } = await upload(new File([blob], name, { type: "image/png" }));
  window.pictureHandedOver = { path, url, orig_name: name, mime_type: "image/png", meta: { _type: "gradio.FileData" } };
  dialog.close();
  trigger(event, { checkpoint: settings ? settings.checkpoint : null, class: settings ? settings.class || null : null });
}

inDialog(".back").addEventListener("click", () => turnTo(at - 1));
inDialog(".on").addEventListener("click", () => turnTo(at + 1));
inDialog(".close").addEventListener("click", () => dialog.close());
inDialog(".vary").addEventListener("click", () => handOver("vary_this"));
inDialog(".mix").addEventListener("click", () => handOver("mix_this"));
inDialog(".use").addEventListener("click", () => {
  dialog.close();
  trigger("use_this", { settings: shown[at].settings });
});
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
dialog.addEventListener("keydown", (event) => {
  if (event.key === "ArrowLeft") turnTo(at - 1);
  if (event.key === "ArrowRight") turnTo(at + 1);
});
dialog.addEventListener("touchstart", (event) => { began = event.touches.length === 1 ? event.touches[0] : null; }, { passive: true });
dialog.addEventListener("touchend", (event) => {
  if (!began) return;
  const across = event.changedTouches[0].clientX - began.clientX, down = event.changedTouches[0].clientY - began.clientY;
  if (Math.abs(across) > 40 && Math.abs(across) > 2 * Math.abs(down)) turnTo(at + (across < 0 ? 1 : -1));
});

// A click on a finished image opens this viewer in the place of the gallery's own, which knows no settings and no swipe.
document.addEventListener("click", (event) => {
  const button = event.target.closest(".pictures .thumbnail-lg");
  if (!button) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  const all = [...button.closest(".pictures").querySelectorAll(".thumbnail-lg")];
  view(all.map((one) => ({ url: one.querySelector("img").src })), all.indexOf(button));
}, true);
