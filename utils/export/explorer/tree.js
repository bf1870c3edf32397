/* The beam as a tree: a column for each step, the best hypothesis on top. */

import { element, number, percent, svg, walkable, word } from "./dom.js";
import { PENALTY, said, score } from "./search.js";
import { say } from "./words.js";

const WIDE = 96, GAP = 28, HIGH = 40;

const ancestors = (node) => (node ? [node, ...ancestors(node.parent)] : []);

export function treeExplained(size) {
  return size === 1
    ? say("Greedy search keeps one hypothesis: no branches. Choose a beam above to see a tree.")
    : say("After each step the search keeps the {size} best hypotheses, the best on top; a dashed one was given up later. " +
        "A hypothesis that has come to its end waits for the others.", { size });
}

export function treeSentence(node, text) {
  const tokens = node.ids.slice(1).map((id) => word(text.tgt[id])).join(" ") || say("nothing yet");
  if (!node.parent) return say("The beginning: nothing is said yet.");
  return say("“{tokens}”: its last token had {share}; log-probabilities sum to {total}; divided by length^{power}, {score}.", {
    tokens, share: percent(Math.exp(node.logp)), total: number(node.total), power: PENALTY, score: number(score(node)),
  });
}

/** tell(node): the reader points at a node. */
export function drawTree(place, { beams, winner }, text, tell) {
  const survivors = new Set(beams.at(-1).flatMap(ancestors)), won = new Set(ancestors(winner)), where = new Map();
  const width = beams.length * (WIDE + GAP), height = Math.max(...beams.map((beam) => beam.length)) * HIGH;
  const edges = svg("svg", { width, height, "aria-hidden": "true" });
  const canvas = element("div", { className: "canvas", role: "group", "aria-label": say("Hypotheses, step by step"), style: `width: ${width}px; height: ${height}px` }, edges);
  const curve = ([x, y], [x2, y2], win) => edges.append(svg("path", {
    d: `M${x} ${y} C${x + GAP / 2} ${y} ${x2 - GAP / 2} ${y2} ${x2} ${y2}`, class: win ? "won" : "",
  }));
  beams.forEach((beam, t) => beam.forEach((node, rank) => {
    const left = t * (WIDE + GAP), middle = rank * HIGH + HIGH / 2, before = where.get(node) ?? where.get(node.parent);
    if (before) curve(before, [left, middle], won.has(node));
    if (where.has(node)) curve([left, middle], [left + WIDE, middle], won.has(node)); // finished, it waits
    else {
      const name = `${word(text.tgt[node.ids.at(-1)])}`, state = won.has(node) ? "won" : survivors.has(node) ? "" : "lost";
      const button = element("button", { type: "button", className: state, style: `left: ${left}px; top: ${middle - 15}px; width: ${WIDE}px` }, name);
      button.onfocus = button.onpointerenter = () => tell(node);
      const hint = { won: say("part of the translation"), lost: say("given up later"), "": say("kept") }[state];
      button.setAttribute("aria-label", say("step {t}, rank {rank}: {name}, {hint}", { t, rank: rank + 1, name, hint }));
      canvas.append(button);
    }
    where.set(node, [left + WIDE, middle]);
  }));
  place.replaceChildren(canvas);
  walkable(canvas);
}

/** The hypotheses of the last step, as a table. */
export function drawFinals(place, { beams, winner }, text) {
  const rows = beams.at(-1).map((node) => element("tr", {},
    element("td", {}, text.decode(said(node)) || say("(nothing)"), node === winner ? say(" ← the translation") : "", node.done ? "" : say(" (not at its end)")),
    ...[number(node.total), String(node.length), number(score(node))].map((x) => element("td", {}, x))));
  const titles = [say("hypothesis"), say("log-probability"), say("tokens"), say("score")].map((title) => element("th", { scope: "col" }, title));
  place.replaceChildren(element("table", {}, element("thead", {}, element("tr", {}, ...titles)), element("tbody", {}, ...rows)));
}
