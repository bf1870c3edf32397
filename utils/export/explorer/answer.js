/* The model and the text of a page's folder without the page: `node answer.js FOLDER` reads requests, [[what, of what], ...],
   as JSON from standard input, and answers each with a line. The check of an export and the tests ask. */

import { readFileSync } from "node:fs";
import { runInThisContext } from "node:vm";
import { load } from "./load.js";
import { loops } from "./repeats.js";
import { said, search } from "./search.js";

/** Runs a file as a browser does: one that is missing or broken does nothing. */
async function run(file) {
  try {
    runInThisContext(readFileSync(`${process.argv[2]}/${file}`, "utf-8"));
  } catch {}
}

process.on("uncaughtException", (error) => {
  console.error(error.message);
  process.exit(1);
});
const { model, text } = await load(() => {}, run);
const plain = (looks) => looks.map(({ weights }) => weights.map((row) => [...row]));
const answers = {
  pieces: (request) => text.pieces(request),
  encode: (request) => text.encode(request),
  decode: (request) => text.decode(request),
  search: ({ src, off, ...settings }) => {
    model.off = new Set(off ?? []);
    const { winner } = search(model, src, settings);
    return said(winner);
  },
  loops: ([source, output]) => loops(source, output),
  look: ({ src, prefix }) => {
    const { source, winner } = search(model, src, { size: 1, prefix });
    return {
      encoder: source.looks.map(({ queries }) => plain(queries)),
      self: winner.steps.map((step) => plain(step.self)),
      cross: winner.steps.map((step) => plain(step.cross)),
      logits: winner.steps.map((step) => [...step.logits]),
    };
  },
};
for (const [what, request] of JSON.parse(readFileSync(0, "utf-8"))) console.log(JSON.stringify(answers[what](request)));
