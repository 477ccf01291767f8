// What this browser made, in its own IndexedDB: PNG bytes, which hold their settings as text. Nothing of it is sent anywhere.
const MOST = 200, STORE = "pictures"; // the name that release 0.1.0 gave the store

const database = new Promise((found, failed) => {
  const request = indexedDB.open("diffusion-demo", 1);
  request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "id", autoIncrement: true });
  request.onsuccess = () => found(request.result);
  request.onerror = () => failed(request.error);
});

async function inStore(mode, work) {
  const transaction = (await database).transaction(STORE, mode);
  const request = work(transaction.objectStore(STORE));
  return new Promise((done, failed) => {
    transaction.oncomplete = () => done(request && request.result);
    transaction.onerror = transaction.onabort = () => failed(transaction.error);
  });
}

// Oldest first. A private window may refuse a database: then nothing is kept, and the page works without.
const stored = () => inStore("readonly", (store) => store.getAll()).catch(() => []);
const emptied = () => inStore("readwrite", (store) => store.clear()).catch(() => {});

async function keep(entries) {
  await inStore("readwrite", (store) => { entries.forEach((entry) => store.add(entry)); });
  const keys = await inStore("readonly", (store) => store.getAllKeys());
  await inStore("readwrite", (store) => { keys.slice(0, -MOST).forEach((key) => store.delete(key)); });
}

// The text chunk of a PNG that holds its settings, as images.py wrote it: its bytes and its text. Null if there is none.
async function settingsChunk(blob) {
  const bytes = new Uint8Array(await blob.arrayBuffer()), view = new DataView(bytes.buffer), latin = new TextDecoder("latin1");
  for (let at = 8; at + 12 <= bytes.length; at += 12 + view.getUint32(at)) {
    const end = at + 8 + view.getUint32(at);
    if (latin.decode(bytes.subarray(at + 4, at + 8)) !== "tEXt") continue;
    const [key, text] = latin.decode(bytes.subarray(at + 8, end)).split("\0");
    if (key === "diffusion_demo") return { bytes: bytes.slice(at, end + 4), text };
  }
  return null;
}

async function settingsIn(blob) {
  const chunk = await settingsChunk(blob);
  try { return chunk && JSON.parse(chunk.text); } catch { return null; }
}

const HEADER = 33; // bytes of a PNG before the place where images.py writes the settings: signature and IHDR
async function withSettingsOf(source, plain) {
  const chunk = await settingsChunk(source);
  return new Blob(chunk ? [plain.slice(0, HEADER), chunk.bytes, plain.slice(HEADER)] : [plain], { type: "image/png" });
}

async function fetched(url) {
  const blob = await (await fetch(url)).blob();
  return { name: decodeURIComponent(url.split("/").pop()), blob, settings: await settingsIn(blob) };
}
