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

function script(address) {
  return new Promise((loaded, failed) => {
    const element = document.createElement("script");
    Object.assign(element, { src: address, onload: loaded });
    element.onerror = () => failed(new Error(`${address} is missing`));
    document.head.append(element);
  });
}

/** Loads the model of this page; progress(share) is called on the way. */
export async function load(progress) {
  const parts = [];
  let tables;
  window.receive = (name, content) => {
    if (name === "tables") tables = content;
    else parts[name] = content;
  };
  await script("model.js");
  let done = 0;
  await Promise.all(Array.from({ length: tables.parts }, async (_, i) => {
    await script(`part-${String(i).padStart(2, "0")}.js`);
    progress(++done / tables.parts);
  }));
  const bytes = new Uint8Array(tables.size);
  let at = 0;
  for (const part of parts) {
    const text = atob(part);
    for (let i = 0; i < text.length; i++) bytes[at++] = text.charCodeAt(i);
  }
  return { tables, ...unpack(tables, bytes.buffer) };
}
