// Sends dropped or chosen images to Gradio's upload route and reports them, with their folders, by a click on a hidden button.
const find = (selector) => element.querySelector(selector);
const CHUNK_FILES = 100, limits = props.value;
let current = null; // the upload in progress

function say(text, problem) {
  find(".status").textContent = text;
  find(".status").classList.toggle("problem", Boolean(problem));
}

// All files of a dropped entry with their paths; a directory is read in parts of 100 entries.
async function walk(entry, path, found) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    found.push({ file, path: path + entry.name });
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    const entries = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!entries.length) return;
    for (const child of entries) await walk(child, path + entry.name + "/", found);
  }
}

function usable({ path }) {
  const name = path.split("/").pop().toLowerCase();
  if (path.split("/").some((part) => part.startsWith(".") || part === "__MACOSX")) return null;
  const suffix = name.includes(".") ? name.split(".").pop() : "";
  return suffix === "" || limits.suffixes.includes(suffix) || limits.label_files.includes(name);
}

function send(files, report) {
  return new Promise((resolve, reject) => {
    const form = new FormData(), request = new XMLHttpRequest();
    for (const { file } of files) form.append("files", file, file.name);
    request.open("POST", ((window.gradio_config || {}).root || "").replace(/\/$/, "") + "/gradio_api/upload");
    request.upload.onprogress = (event) => report(event.loaded);
    request.onload = () => {
      if (request.status === 200) return resolve(JSON.parse(request.responseText));
      let detail = "";
      try { detail = JSON.parse(request.responseText).detail || ""; } catch { /* not JSON */ }
      reject(new Error(detail || "The upload failed. Try again."));
    };
    request.onerror = () => reject(new Error("The server cannot be reached. Try again."));
    request.onabort = () => reject(new Error("Canceled."));
    current.request = request;
    request.send(form);
  });
}

function* chunks(files) {
  let chunk = [], bytes = 0;
  for (const one of files) {
    if (chunk.length && (chunk.length >= CHUNK_FILES || bytes + one.file.size > limits.max_bytes / 4)) {
      yield chunk;
      chunk = []; bytes = 0;
    }
    chunk.push(one); bytes += one.file.size;
  }
  if (chunk.length) yield chunk;
}

function noImages(count) {
  if (count === 1) return "This file isn't an image or a ZIP.";
  return count ? "No images among these " + count.toLocaleString("en") + " files." : "This folder is empty.";
}

function skipped(files) {
  if (!files.length) return "";
  const names = files.slice(0, 3).map(({ path }) => path.split("/").pop()).join(", ") + (files.length > 3 ? ", ..." : "");
  return " " + (files.length === 1 ? "1 file skipped, not an image: " : files.length.toLocaleString("en") + " files skipped, not images: ") + names + ".";
}

async function upload(all) {
  const files = all.filter((one) => usable(one)), others = all.filter((one) => usable(one) === false);
  const tooLarge = files.find(({ file }) => file.size > limits.max_bytes);
  if (!files.length) return say(noImages(all.length), true);
  if (files.length > limits.max_files) return say("More than " + limits.max_files.toLocaleString("en") + " files. Put them into a ZIP.", true);
  if (tooLarge) return say(tooLarge.path + " is larger than " + Math.round(limits.max_bytes / 1e6) + " MB.", true);
  const mine = current = { canceled: false }, total = files.reduce((sum, { file }) => sum + file.size, 0), sent = [];
  const bar = find("progress");
  let done = 0;
  bar.hidden = find(".cancel").hidden = false;
  find(".see").hidden = true;
  try {
    for (const chunk of chunks(files)) {
      if (mine.canceled) throw new Error("Canceled.");
      const report = (bytes) => {
        bar.value = Math.min(1, (done + bytes) / Math.max(1, total));
        say("Uploading " + files.length.toLocaleString("en") + (files.length === 1 ? " file, " : " files, ") + Math.round(100 * bar.value) + " %");
      };
      report(0);
      const paths = await send(chunk, report);
      chunk.forEach(({ path }, i) => sent.push({ path: paths[i], orig_name: path.slice(-900), meta: { _type: "gradio.FileData" } }));
      done += chunk.reduce((sum, { file }) => sum + file.size, 0);
    }
    window.trainUpload = sent;
    say("Uploaded " + sent.length.toLocaleString("en") + (sent.length === 1 ? " file" : " files") + "." + skipped(others));
    document.querySelector("#train-uploaded").click();
    find(".see").hidden = false;
  } catch (error) {
    say(error.message, error.message !== "Canceled.");
  } finally {
    if (current === mine) current = null;
    bar.hidden = find(".cancel").hidden = true;
  }
}

element.addEventListener("change", (event) => {
  const files = [...(event.target.files || [])];
  if (!files.length || current) return;
  upload(files.map((file) => ({ file, path: file.webkitRelativePath || file.name })));
  event.target.value = "";
});
element.addEventListener("click", (event) => {
  if (event.target.matches(".see")) document.querySelector("#train-results").scrollIntoView({ block: "start" });
  if (event.target.matches(".cancel") && current) { current.canceled = true; if (current.request) current.request.abort(); }
});
const drop = find(".drop");
for (const name of ["dragover", "dragenter"]) drop.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
drop.addEventListener("dragleave", () => drop.classList.remove("over"));
drop.addEventListener("drop", async (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  if (current) return;
  const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry && item.webkitGetAsEntry()).filter(Boolean), found = [];
  say("Reading the folder...");
  try {
    for (const entry of entries) await walk(entry, "", found);
  } catch { return say("This folder cannot be read. Choose it with the button.", true); }
  upload(found);
});
