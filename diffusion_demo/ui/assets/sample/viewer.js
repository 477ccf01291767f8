// One image, large, with its settings in words: arrow keys and swipes turn to the next one, Esc closes.
const dialog = element.querySelector(".viewer"), inDialog = (selector) => dialog.querySelector(selector);
const ENLARGED = 8, MAX_SIDE = 4096;
let shown = [], at = 0, began = null, addresses = [], openerOf = () => null;

// `opener(index)` is the element that shows the image of that index, to which the focus returns.
async function view(entries, index, opener) {
  shown = entries;
  openerOf = opener;
  if (!dialog.open) dialog.showModal();
  await turnTo(index);
}

async function turnTo(index) {
  if (index < 0 || index >= shown.length) return;
  at = index;
  const entry = (shown[at] = shown[at].blob ? shown[at] : await fetched(shown[at].url));
  if (at !== index) return;
  const old = addresses;
  addresses = [URL.createObjectURL(entry.blob)];
  inDialog("img").src = inDialog(".download").href = addresses[0];
  old.forEach((address) => URL.revokeObjectURL(address));
  inDialog(".download").download = entry.name;
  inDialog("img").alt = inDialog(".words").textContent = inWords(entry.settings);
  const grid = Boolean(entry.settings && entry.settings.made_by === "compare");
  inDialog("img").classList.toggle("grid", grid);
  inDialog(".use").hidden = !entry.settings || Boolean(entry.settings.made_by);
  inDialog(".vary").hidden = inDialog(".blend").hidden = grid;
  const second = document.querySelector("#vary-two"); // there once two images are to be blended
  inDialog(".second").hidden = grid || !(second && second.offsetParent);
  inDialog(".back").disabled = at === 0;
  inDialog(".on").disabled = at === shown.length - 1;
  if (document.activeElement && document.activeElement.disabled) dialog.focus(); // it would swallow the keys
  await offerEnlarged(entry, index);
}

// The same pixels 8 times as large, with the same settings inside.
async function offerEnlarged(entry, index) {
  const link = inDialog(".enlarged");
  link.hidden = true;
  const image = await createImageBitmap(entry.blob).catch(() => null);
  if (!image || ENLARGED * Math.max(image.width, image.height) > MAX_SIDE) return;
  const canvas = Object.assign(document.createElement("canvas"), { width: ENLARGED * image.width, height: ENLARGED * image.height });
  const drawing = canvas.getContext("2d");
  drawing.imageSmoothingEnabled = false;
  drawing.drawImage(image, 0, 0, canvas.width, canvas.height);
  const plain = await new Promise((done) => canvas.toBlob(done, "image/png"));
  const blob = await withSettingsOf(entry.blob, plain);
  if (at !== index || shown[at] !== entry) return;
  addresses.push((link.href = URL.createObjectURL(blob)));
  link.download = entry.name.replace(/\.png$/, "_" + ENLARGED + "x.png");
  link.hidden = false;
}

// The image goes up as if it had been dropped on the field, and only because somebody asked for it.
async function handOver(event) {
  const { name, blob, settings } = shown[at];
  const { path, url } = await upload(new File([blob], name, { type: "image/png" }));
  window.sentImage = { path, url, orig_name: name, mime_type: "image/png", meta: { _type: "gradio.FileData" } };
  openerOf = () => null;
  dialog.close();
  trigger(event, { checkpoint: settings ? settings.checkpoint : null, class: settings ? settings.class || null : null });
}

inDialog(".back").addEventListener("click", () => turnTo(at - 1));
inDialog(".on").addEventListener("click", () => turnTo(at + 1));
inDialog(".close").addEventListener("click", () => dialog.close());
inDialog(".vary").addEventListener("click", () => handOver("vary_this"));
inDialog(".blend").addEventListener("click", () => handOver("blend_this"));
inDialog(".second").addEventListener("click", () => handOver("blend_with_this"));
inDialog(".use").addEventListener("click", () => {
  dialog.close();
  trigger("use_this", { settings: shown[at].settings });
});
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
dialog.addEventListener("close", () => {
  const opener = openerOf(at);
  if (opener) opener.focus();
});
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

// A click on an image of the stage: its file is in the gallery beside it, which is not shown.
document.addEventListener("click", (event) => {
  const cell = event.target.closest(".stage .cell");
  if (!cell) return;
  const cells = [...cell.parentElement.querySelectorAll(".cell")];
  const files = [...cell.closest(".results").querySelectorAll(".result-files .thumbnail-lg img")];
  if (files.length === cells.length) view(files.map((file) => ({ url: file.src })), cells.indexOf(cell), (index) => cells[index]);
});
