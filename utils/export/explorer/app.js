/* The page: what is chosen, and what is drawn anew when another choice is made. */

import { drawArithmetic } from "./arithmetic.js";
import { drawHeads, drawLines, drawTokens, sentence } from "./attention.js";
import { element, press, walkable, word } from "./dom.js";
import { load } from "./load.js";
import { KINDS, looks } from "./looks.js";
import { loops } from "./repeats.js";
import { said, search } from "./search.js";
import { drawBest, drawSaid, drawSource, stepSentence } from "./steps.js";
import { drawFinals, drawTree, treeExplained, treeSentence } from "./tree.js";
import { say } from "./words.js";

const $ = (id) => document.getElementById(id);
const asked = new URLSearchParams(location.hash.slice(1)); // as in #zh=你好&kind=self&embed=steps
const state = { kind: asked.get("kind") in KINDS ? asked.get("kind") : "cross", layer: null, head: 0, asking: 0, key: 0,
  step: 0, piece: 0, prefix: [], off: new Set() };
const intact = new Map(); // translations with all heads on, by all else that decides
let model, text, result, pieces = [], round = 0;

const english = (found) => text.decode(said(found.winner));
const layers = () => (state.kind === "encoder" ? model.config.n_layers : model.decoderLayers);

/** The translation of a clean sentence, with all that the search has seen. One that loops is searched for once more, as
    in utils/translate.py, unless somebody has a hand in it. */
function translation(piece, prefix) {
  const ids = text.encode(piece), settings = { size: Number($("beam").value), prefix };
  let found = search(model, ids, settings);
  if (!prefix.length && !model.off.size && loops(piece, english(found))) found = search(model, ids, { ...settings, noRepeat: 2 });
  return { ...found, characters: text.characters(piece) };
}

/** What the chosen sentence becomes with all heads on. */
function withAllHeads() {
  const piece = pieces[state.piece], key = JSON.stringify([piece, $("beam").value, state.prefix]);
  if (!state.off.size) intact.set(key, english(result));
  if (!intact.has(key)) {
    model.off = new Set();
    intact.set(key, english(translation(piece, state.prefix)));
    model.off = state.off;
  }
  return intact.get(key);
}

// ---- translating ----

/** Translates all that is typed, sentence by sentence; the page stays awake in between. */
async function translate() {
  const mine = ++round, began = performance.now(), lines = text.pieces($("zh").value);
  pieces = [...new Set(lines.flat().filter((piece) => text.reads(piece)))];
  state.piece = Math.min(state.piece, Math.max(pieces.length - 1, 0));
  const found = new Map();
  for (const piece of pieces) {
    if (pieces.length > 1) $("status").textContent = say("Sentence {i} of {n} …", { i: found.size + 1, n: pieces.length });
    if (found.size) await new Promise((go) => setTimeout(go));
    if (mine !== round) return; // something else was typed
    const chosen = piece === pieces[state.piece], here = translation(piece, chosen ? state.prefix : []);
    if (chosen) result = here;
    found.set(piece, english(here));
  }
  $("english").textContent = lines.map((line) => line.map((piece) => found.get(piece) ?? piece).join(" ")).join("\n");
  if (!pieces.length) result = null;
  $("inside").hidden = !result;
  const time = say("{ms} ms, in your browser.", { ms: Math.round(performance.now() - began) });
  $("status").textContent = result ? time : $("status").dataset.nothing;
  const held = $("pieces").contains(document.activeElement);
  $("pieces").hidden = pieces.length < 2;
  $("pieces").replaceChildren(...pieces.map((piece, i) => {
    const button = element("button", { type: "button", lang: $("zh").lang }, piece);
    button.onclick = () => { state.piece = i; again(); };
    return button;
  }));
  if (pieces.length > 1) { press($("pieces"), state.piece); walkable($("pieces")); }
  if (held) $("pieces").children[state.piece]?.focus(); // not lost with the button that was pressed
  if (result) draw();
}

/** From the start: another text or sentence. */
function again() {
  Object.assign(state, { prefix: [], asking: 0, step: 0, key: 0 });
  return translate();
}

// ---- drawing ----

const look = () => looks(result, state.kind, state.layer, text);

function draw() {
  state.layer ??= layers() - 1;
  state.asking = Math.min(state.asking, look().queries.length - 1);
  drawKind();
  drawOff();
  drawSteps();
  drawBeam();
}

function drawKind() {
  const { does, lesson } = KINDS[state.kind], here = look();
  $("kind-explained").replaceChildren(does, say(" Point at a token, or go to it with Tab and the arrow keys. Lesson: "), lessonLink(...lesson), say("."));
  press($("kinds"), Object.keys(KINDS).indexOf(state.kind));
  drawTokens($("lines"), here, state.head, state.asking, (i) => {
    if (state.asking === i) return;
    state.asking = i;
    point();
  });
  drawHeads($("heads"), result, state, text, { layers: layers(), heads: model.config.n_heads }, {
    choose: (layer, head) => { Object.assign(state, { layer, head }); drawKind(); },
    turn: (key) => { if (!state.off.delete(key)) state.off.add(key); model.off = state.off; translate(); },
  });
  point();
}

/** What changes when another token asks: lines, sentence, arithmetic. */
function point() {
  const here = look();
  drawLines($("lines"), here, state.head, state.asking);
  $("said").textContent = sentence(here, state.layer, state.head, state.asking);
  calculate(here);
}

function calculate(here) {
  const { weights } = here.queries[state.asking], own = weights[state.head];
  state.key = own.indexOf(Math.max(...own));
  $("arithmetic-explained").textContent = say("The token “{token}” asks in the {kind}, layer {layer}, head {head}, all chosen above. " +
    "Strips are vectors, a cell a number: in color above zero, gray below.", {
    token: word(here.asks[state.asking]), kind: KINDS[state.kind].name, layer: state.layer + 1, head: state.head + 1,
  });
  const show = () => drawArithmetic($("arithmetic"), here, state.head, model.config.n_heads, state.asking, state.key, (j) => { state.key = j; show(); });
  show();
}

function drawOff() {
  const names = [...state.off].map((key) => key.split(".")).map(([kind, layer, head]) =>
    say("{kind}, layer {layer}, head {head}", { kind: KINDS[kind].name, layer: Number(layer) + 1, head: Number(head) + 1 }));
  const before = withAllHeads(), now = english(result);
  $("off").replaceChildren();
  if (!names.length) return;
  const button = element("button", { type: "button" }, say("switch all on"));
  button.onclick = () => { state.off.clear(); $("heads").querySelector("button").focus(); translate(); };
  const outcome = before === now ? say("The translation stays “{now}”", { now }) : say("“{before}” becomes “{now}”", { before, now });
  $("off").append(say("Off: {names}. {outcome} ", { names: names.join(say("; ")), outcome }), button);
}

function drawSteps() {
  const last = result.winner.steps.length - 1;
  state.step = Math.min(state.step, last);
  const go = (step) => { state.step = Math.max(0, Math.min(step, last)); drawSteps(); };
  const held = $("said-so-far").contains(document.activeElement), heldBest = $("best").contains(document.activeElement);
  drawSaid($("said-so-far"), result, text, state.step, go);
  if (held) $("said-so-far").children[state.step].focus();
  $("back").onclick = () => go(state.step - 1);
  $("forth").onclick = () => go(state.step + 1);
  $("back").ariaDisabled = state.step === 0;
  $("forth").ariaDisabled = state.step === last;
  $("free").hidden = !state.prefix.length;
  $("free").onclick = () => { state.prefix = []; $("forth").focus(); translate(); };
  $("step-said").textContent = stepSentence(result, text, state.step);
  drawBest($("best"), result, text, state.step, (token) => {
    state.prefix = [...result.winner.ids.slice(1, state.step + 1), token];
    translate();
  });
  if (heldBest) ($("best").querySelector("[aria-pressed=true]") ?? $("best").firstChild).focus();
  drawSource($("step-source"), result, state.step);
}

function drawBeam() {
  $("tree-explained").textContent = treeExplained(Number($("beam").value));
  drawTree($("tree"), result, text, (node) => ($("tree-said").textContent = treeSentence(node, text)));
  $("tree-said").textContent = treeSentence(result.winner, text);
  drawFinals($("finals"), result, text);
}

/** A link to a lesson, made like the one that stands in the page. */
function lessonLink(address, name) {
  const [lesson, section] = say(address).split("#"), pattern = document.body.dataset.lessons;
  if (!pattern) return `${name} (${lesson.split("_")[0]})`;
  return element("a", { href: pattern.replace("{}", lesson) + (section ? `#${section}` : "") }, name);
}

// ---- the page ----

$("kinds").append(...Object.entries(KINDS).map(([kind, { name }]) => {
  const button = element("button", { type: "button" }, name);
  button.onclick = () => { Object.assign(state, { kind, layer: null, head: 0, asking: 0 }); draw(); };
  return button;
}));
walkable($("kinds"));
$("examples").append(...$("examples").dataset.examples.split("|").filter(Boolean).map((example) => {
  const button = element("button", { type: "button", lang: $("zh").lang }, example);
  button.onclick = () => { $("zh").value = example; again(); };
  return button;
}));
walkable($("examples"));
if (asked.get("zh")) $("zh").value = asked.get("zh");
if (asked.has("embed")) {
  document.body.className = "embedded";
  for (const section of document.querySelectorAll("#inside section")) section.hidden = section.id !== `${asked.get("embed")}-view`;
}

try {
  ({ model, text } = await load((share) => ($("progress").value = share)));
  $("progress").hidden = true;
  let wait;
  $("zh").oninput = (event) => { clearTimeout(wait); if (!event.isComposing) wait = setTimeout(again, 200); };
  $("zh").addEventListener("compositionend", () => { wait = setTimeout(again, 200); });
  $("beam").onchange = again;
  addEventListener("resize", () => result && drawLines($("lines"), look(), state.head, state.asking));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => result && draw());
  await translate();
  document.body.dataset.ready = "true";
} catch (error) {
  $("progress").hidden = true;
  $("status").textContent = say("The model could not be loaded: {reason}. All files of this page belong into one folder, as they were written.", {
    reason: error.message,
  });
  throw error;
}
