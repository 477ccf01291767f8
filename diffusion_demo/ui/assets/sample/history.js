// The strip under the results: the newest run first, each in its own order.
const strip = element.querySelector(".strip"), clear = element.querySelector(".clear"), CLEAR = "Clear", SURE = "Delete all history?";

async function draw() {
  const entries = (await stored()).reverse(), count = entries.length;
  strip.querySelectorAll("img").forEach((image) => URL.revokeObjectURL(image.src));
  strip.replaceChildren(...entries.map((entry, index) => {
    const button = document.createElement("button"), image = document.createElement("img");
    button.type = "button";
    button.dataset.id = entry.id;
    image.src = URL.createObjectURL(entry.blob);
    image.alt = inWords(entry.settings);
    image.loading = "lazy";
    button.append(image);
    button.addEventListener("click", () => view(entries, index, (at) => strip.querySelector('[data-id="' + entries[at].id + '"]')));
    return button;
  }));
  element.querySelector(".count").textContent = count ? count + (count === 1 ? " image" : " images") + ", in this browser only" : "";
  element.querySelector(".none").hidden = count > 0;
  clear.hidden = !count;
  clear.textContent = CLEAR;
}

clear.addEventListener("click", async () => {
  if (clear.textContent === CLEAR) {
    clear.textContent = SURE;
    setTimeout(() => { clear.textContent = CLEAR; }, 4000);
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

// A reload has cut a run short: the same settings give the same images, so it starts again and reaches the history.
// The stage forgets a run when it ends (stage.js), so a second reload in between finds it, too.
const UNFINISHED_RUN = "diffusion-demo-run", FIRST_ASK = 500, ASK_EACH = 1000, WAIT_FOR_ANSWER = 10000; // milliseconds
let run = null, tries = 30, nextAsk = null;
try { run = JSON.parse(sessionStorage.getItem(UNFINISHED_RUN)); } catch { /* a browser that stores nothing */ }
const untilAnswered = (delay) => { clearTimeout(nextAsk); nextAsk = run && setTimeout(askToResume, delay); };
const answered = () => { clearTimeout(nextAsk); run = null; };
const forget = () => { answered(); try { sessionStorage.removeItem(UNFINISHED_RUN); } catch { /* the same */ } };

// Gradio loses events before the page is complete, and answers when the connection breaks.
function askToResume() {
  if (!tries--) return forget();
  trigger("resume_this", run);
  untilAnswered(ASK_EACH);
}
element.querySelector(".history").addEventListener("taken", () => untilAnswered(WAIT_FOR_ANSWER));
element.querySelector(".history").addEventListener("refused", forget);
element.querySelector(".history").addEventListener("resumed", () => {
  if (run) pressWhenReady(document.querySelector("#generate"), 600);
  answered();
});
function pressWhenReady(button, tries) {
  if (!button.disabled) button.click();
  else if (tries) setTimeout(pressWhenReady, 100, button, tries - 1);
}

// Ctrl+Enter starts and Esc stops what is to be seen of this tab.
document.addEventListener("keydown", (event) => {
  if (dialog.open || event.defaultPrevented) return;
  if (event.key === "Escape" && event.target.matches("[aria-expanded=true]")) return; // closes a dropdown
  const key = event.key === "Enter" && (event.ctrlKey || event.metaKey) ? ".starts" : event.key === "Escape" ? ".stops" : null;
  const button = key && [...document.querySelectorAll("button" + key)].find((one) => one.offsetParent && !one.disabled);
  if (!button) return;
  event.preventDefault();
  button.click();
}, true);

draw();
untilAnswered(FIRST_ASK);
