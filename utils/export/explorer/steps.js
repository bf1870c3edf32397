/* Decoding, token by token: the ten best of a step, and where it looked. */

import { element, percent, press, walkable, word } from "./dom.js";
import { best } from "./search.js";
import { say } from "./words.js";

/** The tokens of the translation as buttons. choose(i): step i. */
export function drawSaid(place, { winner }, text, at, choose) {
  place.replaceChildren(...winner.ids.slice(1).map((id, i) => {
    const button = element("button", { type: "button" }, word(text.tgt[id]));
    button.onclick = () => choose(i);
    return button;
  }));
  press(place, at);
  walkable(place);
}

/** The ten best of step `at`. force(token): the translation shall go on with it. */
export function drawBest(place, { winner }, text, at, force) {
  const taken = winner.ids[at + 1];
  place.replaceChildren(...best(winner.steps[at].logits, 10).map(({ token, logp }) => {
    const share = Math.exp(logp), bar = element("span");
    bar.append(element("span", { className: "bar", style: `display: block; width: ${100 * share}%` }));
    const name = element("span", {}, word(text.tgt[token]));
    const button = element("button", { type: "button", "aria-pressed": token === taken }, name, bar, element("span", { className: "share" }, percent(share)));
    button.onclick = () => force(token);
    return button;
  }));
  walkable(place);
}

export function stepSentence({ winner }, text, at) {
  const before = winner.ids.slice(0, at + 1).map((id) => word(text.tgt[id])).join(" "), [first] = best(winner.steps[at].logits, 1);
  const taken = winner.ids[at + 1], other = taken === first.token ? "" : say("; chosen is “{token}”", { token: word(text.tgt[taken]) });
  return say("Step {step} of {steps}, after “{before}”: the most probable token is “{token}”, {share}{other}.", {
    step: at + 1, steps: winner.steps.length, before, token: word(text.tgt[first.token]), share: percent(Math.exp(first.logp)), other,
  });
}

/** The source, shaded by the mean cross-attention of the last layer. */
export function drawSource(place, { characters, winner }, at) {
  const heads = winner.steps[at].cross.at(-1).weights;
  place.replaceChildren(...[...characters, "<eos>"].map((character, j) => {
    const share = heads.reduce((sum, weights) => sum + weights[j] / heads.length, 0);
    const token = element("span", {}, word(character), element("small", {}, percent(share)));
    token.style.background = `rgba(var(--weight-rgb), ${(0.6 * share).toFixed(3)})`;
    return token;
  }));
}
