/* The model's files: model.js hands over the tables, part-00.js and so on the weights in base64. They are scripts, which a
   page may load from a folder on the disk, too, where browsers refuse everything else. */

import { Transformer } from "./transformer.js";
import { Text } from "./text.js";

/** float16, as 16 bits -> number. */
function half(bits) {
  const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return exponent ? sign * (1 + fraction / 1024) * 2 ** (exponent - 15) : sign * fraction * 2 ** -24;
}

/** The weights as numbers. tensors: name -> [shape, offset]; 8-bit matrices have a scale for each row before them. */
export function unpack({ kind, tensors, config, ...tables }, buffer) {
  const halves = kind === "float16" ? Float32Array.from({ length: 65536 }, (_, bits) => half(bits)) : null;
  const weights = {};
  for (const [name, [shape, at]] of Object.entries(tensors)) {
    const size = shape.reduce((a, b) => a * b, 1), w = new Float32Array(size);
    if (halves) {
      const bits = new Uint16Array(buffer, at, size);
      for (let i = 0; i < size; i++) w[i] = halves[bits[i]];
    } else if (shape.length === 2) {
      const [rows, columns] = shape, scale = new Float32Array(buffer, at, rows);
      const q = new Int8Array(buffer, at + 4 * rows, size);
      for (let r = 0, i = 0; r < rows; r++) for (const end = i + columns; i < end; i++) w[i] = q[i] * scale[r];
    } else w.set(new Float32Array(buffer, at, size));
    weights[name] = w;
  }
  return { model: new Transformer(config, weights), text: new Text(tables) };
}

/** Runs a script of this folder; whether it was there and whole is for others to see. */
function script(file) {
  return new Promise((done) => {
    const element = document.createElement("script");
    Object.assign(element, { src: file, onload: done, onerror: done });
    document.head.append(element);
  });
}

/** Adler-32 of bytes, as zlib has it. */
function checksum(bytes) {
  let a = 1, b = 0;
  for (const byte of bytes) b = (b + (a = (a + byte) % 65521)) % 65521;
  return b * 65536 + a;
}

function decoded(base64) {
  try {
    const text = atob(base64), bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    return bytes;
  } catch {
    return new Uint8Array(); // no base64
  }
}

/** Loads the model of a folder; progress(share) is called on the way. An Error says which file is missing or broken. */
export async function load(progress, run = script) {
  const received = {};
  globalThis.receive = (name, content) => (received[name] = content);
  await run("model.js");
  const { tables } = received;
  if (!tables) throw new Error("model.js is missing or broken");
  let done = 0;
  const parts = await Promise.all(tables.parts.map(async ([size, sum], i) => {
    const file = `part-${String(i).padStart(2, "0")}.js`;
    await run(file);
    const bytes = decoded(received[i] ?? "");
    if (bytes.length !== size || checksum(bytes) !== sum) throw new Error(`${file} is missing, broken or of another model`);
    progress(++done / tables.parts.length);
    return bytes;
  }));
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  parts.reduce((at, part) => (bytes.set(part, at), at + part.length), 0);
  return { tables, ...unpack(tables, bytes.buffer) };
}
