/* Small helpers for pages: elements, rows of buttons that arrow keys walk through, numbers as they are written. */

import { say } from "./words.js";

/** element("p", {className: "x", "aria-label": "y"}, child, ...) */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role" || name === "lang") made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children);
  return made;
}

export function svg(tag, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** One tab stop for all buttons of a container; arrow keys, Home and End go from one to the next. */
export function walkable(container) {
  const buttons = () => [...container.querySelectorAll("button")];
  const stop = (chosen) => buttons().forEach((button) => (button.tabIndex = button === chosen ? 0 : -1));
  container.onkeydown = (event) => {
    const all = buttons(), at = all.indexOf(document.activeElement);
    const next = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 };
    const target = all[next[event.key]];
    if (at < 0 || !target) return;
    event.preventDefault();
    stop(target);
    target.focus();
  };
  container.onfocusin = (event) => stop(event.target);
  stop(buttons().find((button) => button.getAttribute("aria-pressed") === "true") ?? buttons()[0]);
}

/** Marks one button of a container as pressed. */
export function press(container, index) {
  container.querySelectorAll("button").forEach((button, i) => button.setAttribute("aria-pressed", i === index));
}

/** A token as pages write it: marks in words, no sign for the space before a word, a hyphen where there is none. */
export function word(token) {
  const mark = { "<eos>": say("end"), "<bos>": say("begin"), "<unk>": say("unknown") }[token];
  if (mark) return mark;
  return token.startsWith("▁") ? token.slice(1) || "▁" : /^\p{L}/u.test(token) && !/\p{Script=Han}/u.test(token) ? `-${token}` : token;
}

export const percent = (share) => (share > 0 && share < 0.005 ? "< 1 %" : `${Math.round(100 * share)} %`);
export const number = (x, digits = 2) => (Math.abs(x) < 0.5 * 10 ** -digits ? 0 : x).toFixed(digits).replace("-", "−");
