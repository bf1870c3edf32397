/* What the three kinds of attention are called, who asks whom in them, and how one head's weights are found. */

import { say } from "./words.js";

export const KINDS = {
  encoder: {
    name: say("encoder self-attention"),
    does: say("The encoder: every character of the source asks all characters of the source."),
    lesson: ["02_self_attention#every-word-asks", say("self-attention")],
  },
  self: {
    name: say("decoder self-attention"),
    does: say("The decoder's masked self-attention: every token said so far asks itself and those before it, never a later one."),
    lesson: ["07_transformer#masked-self-attention", say("masked self-attention")],
  },
  cross: {
    name: say("cross-attention"),
    does: say("Cross-attention: before it says a token, the decoder asks all characters of the source."),
    lesson: ["07_transformer#cross-attention", say("cross-attention")],
  },
};

/** One layer of one kind in a translation, a finished search and the source's characters: {asks, asked (tokens), queries: [{q, b, weights}], keys(i), values(i)}.
    In cross-attention a query has the name of the token that is said after it. */
export function looks({ characters, source, winner }, kind, layer, text) {
  const sources = [...characters, "<eos>"], said = winner.ids.map((id) => text.tgt[id]);
  if (kind === "encoder") {
    const { queries, keys, values } = source.looks[layer];
    return { asks: sources, asked: sources, queries, keys: () => keys, values: () => values };
  }
  const queries = winner.steps.map((step) => step[kind][layer]);
  if (kind === "cross") {
    const { keys, values } = source.cross[layer];
    return { asks: said.slice(1), asked: sources, queries, keys: () => keys, values: () => values };
  }
  const read = said.slice(0, queries.length), cache = (i) => winner.steps[i].cache[layer];
  return { asks: read, asked: read, queries, keys: (i) => cache(i).keys, values: (i) => cache(i).values };
}
