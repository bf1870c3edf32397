/* The beam as a tree: a column for each step, the best hypothesis on top. */

import { element, number, percent, svg, walkable, word } from "./dom.js";
import { said, score } from "./search.js";

const WIDE = 96, GAP = 28, HIGH = 40;

const ancestors = (node) => (node ? [node, ...ancestors(node.parent)] : []);

export function treeExplained(size) {
  return size === 1
    ? "Greedy search keeps one hypothesis: no branches. Choose a beam above to see a tree."
    : `After each step the search keeps the ${size} best hypotheses, the best on top; a dashed one was given up later. A ` +
        "hypothesis that has come to its end waits for the others.";
}

export function treeSentence(node, text) {
  const tokens = node.ids.slice(1).map((id) => word(text.tgt[id])).join(" ") || "nothing yet";
  if (!node.parent) return "The beginning: nothing is said yet.";
  return `“${tokens}”: its last token had ${percent(Math.exp(node.logp))}; log-probabilities sum to ${number(node.total)}, ` +
    `${number(score(node))} a token.`;
}

/** tell(node): the reader points at a node. */
export function drawTree(place, { beams, winner }, text, tell) {
  const survivors = new Set(beams.at(-1).flatMap(ancestors)), won = new Set(ancestors(winner)), where = new Map();
  const width = beams.length * (WIDE + GAP), height = Math.max(...beams.map((beam) => beam.length)) * HIGH;
  const edges = svg("svg", { width, height, "aria-hidden": "true" });
  const canvas = element("div", { className: "canvas", role: "group", "aria-label": "Hypotheses, step by step", style: `width: ${width}px; height: ${height}px` }, edges);
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
      const hint = { won: "part of the translation", lost: "given up later", "": "kept" }[state];
      button.setAttribute("aria-label", `step ${t}, rank ${rank + 1}: ${name}, ${hint}`);
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
    element("td", {}, text.decode(said(node)) || "(nothing)", node === winner ? " ← the translation" : "", node.done ? "" : " (not at its end)"),
    ...[number(node.total), String(node.length), number(score(node))].map((x) => element("td", {}, x))));
  const titles = ["hypothesis", "log-probability", "tokens", "a token"].map((title) => element("th", { scope: "col" }, title));
  place.replaceChildren(element("table", {}, element("thead", {}, element("tr", {}, ...titles)), element("tbody", {}, ...rows)));
}
