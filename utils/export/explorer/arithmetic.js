/* One attention as arithmetic: q, the keys, their scores, the softmax, the values and b. */

import { element, number, percent, word } from "./dom.js";
import { say } from "./words.js";

/** Numbers as a strip: a cell each, positive ones in the color of their role, negative ones gray. */
function strip(x, role, most, name) {
  const canvas = element("canvas", { width: x.length, height: 1, role: "img" });
  const first = [...x.slice(0, 3)].map((value) => number(value)).join(", ");
  canvas.setAttribute("aria-label", say("{name}: {n} numbers, the first are {first}", { name, n: x.length, first }));
  canvas.title = `${first}, …`;
  const pen = canvas.getContext("2d"), color = getComputedStyle(document.documentElement).getPropertyValue(`--${role}`);
  x.forEach((value, i) => {
    pen.globalAlpha = Math.min(1, Math.abs(value) / most);
    pen.fillStyle = value > 0 ? color : "#808080";
    pen.fillRect(i, 0, 1, 1);
  });
  return canvas;
}

const largest = (lists) => Math.max(1e-9, ...lists.map((list) => Math.max(...list.map(Math.abs))));
const times = (a, b) => a.reduce((sum, x, i) => sum + x * b[i], 0);

/** The arithmetic of query `asking` of one head; `open` is the key whose score is written out. choose(j): another one. */
export function drawArithmetic(place, look, head, heads, asking, open, choose) {
  const focused = place.contains(document.activeElement);
  const d = look.queries[asking].q.length / heads, own = (x) => x.subarray(head * d, (head + 1) * d);
  const q = own(look.queries[asking].q), keys = look.keys(asking).map(own), values = look.values(asking).map(own);
  const weights = look.queries[asking].weights[head], dots = keys.map((key) => times(q, key));
  const b = new Float32Array(d);
  values.forEach((value, j) => value.forEach((x, i) => (b[i] += weights[j] * x)));
  const most = largest([q, ...keys]), mostValue = largest([...values]), names = look.asked.map(word);

  const cell = (...content) => element("td", {}, ...content);
  const title = (text, role = "") => element("th", { scope: "col", className: role }, text);
  const body = keys.map((key, j) => {
    const button = element("button", { type: "button", "aria-pressed": j === open }, names[j]);
    button.onclick = () => choose(j);
    return element("tr", { className: j === open ? "chosen" : "" }, element("th", { scope: "row" }, button),
      cell(strip(key, "key", most, say("key of {token}", { token: names[j] }))), cell(number(dots[j])), cell(number(dots[j] / Math.sqrt(d))),
      cell(element("span", { className: "bar", style: `width: ${4 * weights[j]}rem` }), percent(weights[j])),
      cell(strip(values[j], "value", mostValue, say("value of {token}", { token: names[j] }))));
  });
  const table = element("table", {},
    element("thead", {}, element("tr", {}, element("th", { scope: "col", style: "text-align: left" }, say("asked")), title("k", "key"), title("q · k"), title(`q · k / √${d}`),
      title("softmax", "weight"), title("v", "value"))),
    element("tbody", {}, ...body),
    element("tfoot", {}, element("tr", {}, element("th", { scope: "row", colSpan: 5 }, say("b, the sum of weight × v")),
      cell(strip(b, "value", mostValue, say("b, the sum"))))));

  const products = [0, 1, 2].map((i) => `${number(q[i])} × ${number(keys[open][i])}`).join(" + ");
  const score = dots[open] / Math.sqrt(d), exponents = dots.map((dot) => Math.exp(dot / Math.sqrt(d)));
  const total = exponents.reduce((a, x) => a + x, 0), line = (text) => element("p", { className: "formula" }, text);
  const heavy = [...keys.keys()].sort((i, j) => weights[j] - weights[i]).slice(0, 3);
  const sum = heavy.map((j) => `${number(weights[j])} × ${number(values[j][0])}`).join(" + ");
  place.replaceChildren(
    element("p", {}, element("span", { className: "query" }, say("q of “{token}”: ", { token: word(look.asks[asking]) })), strip(q, "query", most, say("the query")),
      say(" {d} numbers", { d })),
    element("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": say("Scores, weights and values") }, table),
    line(say("For “{token}”: q · k = {products} = {dot}, divided by √{d}: {score}.", {
      token: names[open], products: products + (d > 3 ? " + …" : ""), dot: number(dots[open]), d, score: number(score),
    })),
    line(say("softmax: e^{score} = {power}, divided by the sum over all, {total}: {share}.", {
      score: number(score), power: number(exponents[open]), total: number(total), share: percent(weights[open]),
    })),
    line(say("The first number of b, the largest weights first: {sum} = {b}.", {
      sum: sum + (values.length > 3 ? " + …" : ""), b: number(b[0]),
    })),
  );
  if (focused) place.querySelectorAll("tbody button")[open].focus();
}
