// What this browser made, in its own IndexedDB: PNG bytes, which hold their settings as text. Nothing of it is sent anywhere.
const MOST = 200, STORE = "pictures";

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

// The settings inside a PNG: the text chunk that images.py wrote. Null where there is none.
async function settingsIn(blob) {
  const bytes = new Uint8Array(await blob.arrayBuffer()), view = new DataView(bytes.buffer), latin = new TextDecoder("latin1");
  for (let at = 8; at + 12 <= bytes.length; at += 12 + view.getUint32(at)) {
    const data = bytes.subarray(at + 8, at + 8 + view.getUint32(at));
    if (latin.decode(bytes.subarray(at + 4, at + 8)) !== "tEXt") continue;
    const [key, text] = latin.decode(data).split("\0");
    if (key === "diffusion_demo") try { return JSON.parse(text); } catch { return null; }
  }
  return null;
}

async function fetched(url) {
  const blob = await (await fetch(url)).blob();
  return { name: decodeURIComponent(url.split("/").pop()), blob, settings: await settingsIn(blob) };
}
