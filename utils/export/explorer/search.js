/* Beam search as in utils/decoding.py; of size 1 it is greedy search. */

import { repeating } from "./repeats.js";
import { BOS, EOS } from "./text.js";

/** log of the sum of exp of the logits of all tokens but <pad> and <bos>, which are never next. */
function logTotal(logits) {
  let most = -Infinity, sum = 0;
  for (let i = EOS; i < logits.length; i++) if (logits[i] > most) most = logits[i];
  for (let i = EOS; i < logits.length; i++) sum += Math.exp(logits[i] - most);
  return most + Math.log(sum);
}

/** The k best continuations, the best first: [{token, logp}]; logits (V). */
export function best(logits, k) {
  const found = [], total = logTotal(logits);
  for (let i = EOS; i < logits.length; i++) {
    if (found.length === k && logits[i] <= logits[found[k - 1]]) continue;
    let at = found.length;
    while (at > 0 && logits[found[at - 1]] < logits[i]) at--;
    found.splice(at, 0, i);
    found.length = Math.min(found.length, k);
  }
  return found.map((token) => ({ token, logp: logits[token] - total }));
}

/** The length penalty that was chosen on dev: LENGTH_PENALTY of utils/translate.py. */
export const PENALTY = 1.75;

export const score = (node, penalty = PENALTY) => node.total / Math.max(node.length, 1) ** penalty;

/** The translation of source ids. `prefix`: ids that it must begin with; `noRepeat`: no so many ids stand twice in it.
    Returns {source, winner, beams}. A hypothesis is {ids with <bos>, parent, logp, total, length, done, steps, cache};
    steps has what `model.step` gave before each of its tokens. beams: the hypotheses kept after each step, best first. */
export function search(model, src, { size = 4, penalty = PENALTY, limit = 2 * src.length + 10, prefix = [], noRepeat = 0 } = {}) {
  const source = model.encode(src), byScore = (a, b) => score(b, penalty) - score(a, penalty);
  const first = { ids: [BOS], parent: null, logp: 0, total: 0, length: 0, done: false, steps: [], cache: model.emptyCache() };
  const extended = (parent, step, { token, logp }) => ({
    ids: [...parent.ids, token], parent, logp, total: parent.total + logp, length: parent.length + 1,
    done: token === EOS, steps: [...parent.steps, step], cache: step.cache,
  });
  let beam = [first];
  const beams = [beam];
  while (beams.length <= limit && !beam.every(({ done }) => done)) {
    const live = beam.filter(({ done }) => !done), steps = model.step(source, live), forced = prefix[beams.length - 1];
    const candidates = beam.filter(({ done }) => done);
    live.forEach((parent, r) => {
      const logits = noRepeat ? steps[r].logits.slice() : steps[r].logits; // `steps` is shown as the model said it
      for (const token of repeating(parent.ids, noRepeat)) logits[token] = -Infinity;
      const next = forced === undefined ? best(logits, size) : [{ token: forced, logp: logits[forced] - logTotal(logits) }];
      candidates.push(...next.map((continuation) => extended(parent, steps[r], continuation)));
    });
    beam = candidates.sort(byScore).slice(0, size);
    beams.push(beam);
  }
  const finished = beam.filter(({ done }) => done);
  return { source, beams, winner: (finished.length ? finished : beam).sort(byScore)[0] };
}

/** The ids of a hypothesis without marks. */
export const said = ({ ids }) => ids.slice(1).filter((id) => id !== EOS);
