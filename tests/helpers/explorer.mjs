
// ---- put after the explorer's modules by tests/test_explorer.py: answers requests, one JSON a line ----

import { readFileSync } from "node:fs";

const [head, weights, requests] = process.argv.slice(2).map((path) => readFileSync(path));
const { model, text } = unpack(JSON.parse(head), new Uint8Array(weights).buffer);
const plain = (looks) => looks.map(({ weights }) => weights.map((row) => [...row]));
const answers = {
  clean: (request) => text.clean(request),
  pieces: (request) => text.pieces(request),
  encode: (request) => text.encode(request),
  decode: (request) => text.decode(request),
  search: ({ src, off, ...settings }) => {
    model.off = new Set(off ?? []);
    const { winner } = search(model, src, settings);
    return said(winner);
  },
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
for (const [what, request] of JSON.parse(requests)) console.log(JSON.stringify(answers[what](request)));
