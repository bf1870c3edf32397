/* Where it looks: the lines from the token that asks, and a small picture of every head. */

import { element, percent, press, svg, walkable, word } from "./dom.js";
import { looks } from "./looks.js";
import { say } from "./words.js";

/** The asking tokens above, the asked ones below, lines as thick as the weights. choose(i): another token asks. */
export function drawTokens(place, look, head, asking, choose) {
  const asks = element("div", { className: "asks", role: "group", "aria-label": say("Token that asks") });
  look.asks.forEach((token, i) => {
    const button = element("button", { type: "button" }, word(token));
    button.onpointerenter = button.onfocus = button.onclick = () => choose(i);
    asks.append(button);
  });
  const asked = element("div", { className: "asked" });
  look.asked.forEach((token) => asked.append(element("div", {}, element("span", {}, word(token)), element("small"))));
  const lines = svg("svg", { height: 90, "aria-hidden": "true" });
  place.replaceChildren(
    element("p", { className: "label query" }, say("asks (query)")), asks, lines, asked,
    element("p", { className: "label key" }, say("is asked (keys)")),
  );
  press(asks, asking);
  walkable(asks);
  drawLines(place, look, head, asking);
}

/** The lines of the tokens drawn by `drawTokens`, for another token or head. */
export function drawLines(place, look, head, asking) {
  const [asks, lines, asked] = [".asks", "svg", ".asked"].map((name) => place.querySelector(name));
  press(asks, asking);
  const weights = look.queries[asking].weights[head], middle = (part) => part.offsetLeft - place.offsetLeft + part.offsetWidth / 2;
  lines.setAttribute("width", Math.max(asks.offsetWidth, asked.offsetWidth));
  const from = middle(asks.children[asking]);
  lines.replaceChildren();
  [...asked.children].forEach((part, j) => {
    const share = weights[j] ?? 0; // a token that was not said yet is not asked
    part.style.opacity = share >= 0.005 ? 1 : 0.55;
    part.querySelector("small").textContent = share >= 0.005 ? percent(share) : "";
    if (share < 0.005) return;
    const line = { x1: from, y1: 4, x2: middle(part), y2: 86, "stroke-width": 1 + 9 * share, stroke: "var(--weight)" };
    lines.append(svg("line", { ...line, "stroke-linecap": "round", "stroke-opacity": 0.35 + 0.65 * share }));
  });
}

/** One sentence on what is seen. */
export function sentence(look, layer, head, asking) {
  const weights = [...look.queries[asking].weights[head]];
  const order = weights.map((_, j) => j).sort((a, b) => weights[b] - weights[a]).filter((j) => weights[j] >= 0.05).slice(0, 3);
  const shares = order.map((j) => say("{share} to “{token}”", { share: percent(weights[j]), token: word(look.asked[j]) })).join(say(", "));
  return say("Layer {layer}, head {head}: “{token}” gives {shares}.", {
    layer: layer + 1, head: head + 1, token: word(look.asks[asking]), shares: shares || say("less than 5 % to every token"),
  });
}

/** A picture of each head: a row for each query, a column for each key. */
export function drawHeads(place, result, state, text, { layers, heads }, { choose, turn }) {
  const chosen = document.activeElement?.dataset?.key;
  place.replaceChildren();
  place.style.setProperty("--heads", heads);
  const [r, g, b] = getComputedStyle(document.documentElement).getPropertyValue("--weight-rgb").split(",").map(Number);
  for (let layer = 0; layer < layers; layer++) {
    const look = looks(result, state.kind, layer, text), columns = look.asked.length, rows = look.queries.length;
    for (let head = 0; head < heads; head++) {
      const key = `${state.kind}.${layer}.${head}`, silent = state.off.has(key), name = say("layer {layer}, head {head}", { layer: layer + 1, head: head + 1 });
      const canvas = element("canvas", { width: columns, height: rows, "aria-hidden": "true" });
      const pen = canvas.getContext("2d"), pixels = pen.createImageData(columns, rows);
      look.queries.forEach(({ weights }, i) => weights[head].forEach((share, j) => {
        pixels.data.set([r, g, b, 255 * Math.sqrt(share)], 4 * (i * columns + j)); // the root: small shares are seen, too
      }));
      pen.putImageData(pixels, 0, 0);
      const show = element("button", { type: "button", "aria-pressed": layer === state.layer && head === state.head });
      show.append(canvas, name);
      show.dataset.key = `show ${key}`;
      show.onclick = () => choose(layer, head);
      const off = element("button", { type: "button", className: "switch", "aria-pressed": silent });
      off.append(silent ? say("is off") : say("switch off"), element("span", { className: "hear" }, `: ${name}`));
      off.dataset.key = `turn ${key}`;
      off.onclick = () => turn(key);
      place.append(element("div", { className: silent ? "head silent" : "head" }, show, off));
    }
  }
  if (chosen) place.querySelector(`[data-key="${chosen}"]`)?.focus();
}
