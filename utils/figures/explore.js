// Puts a live figure in the place of the still above: buttons or sliders choose which stored frame is shown.
(script => {
  const {alt, choices, said, frames, pieces, letters} = JSON.parse(script.previousElementSibling.textContent);
  const above = image => image.compareDocumentPosition(script) & Node.DOCUMENT_POSITION_FOLLOWING;
  const still = [...document.images].filter(above).pop();
  const add = (parent, tag, properties = {}) => parent.appendChild(Object.assign(document.createElement(tag), properties));
  const control = (parent, properties) => {
    const input = add(parent, "input", properties);
    input.dataset.lmSuppressShortcuts = "true"; // or JupyterLab takes the arrows to move, and a d, d to delete the cell
    return input;
  };

  const live = document.createElement("div");
  live.className = "explorable";
  add(live, "style", {textContent: `
    .explorable svg { display: block; max-width: 100%; height: auto; border-radius: 4px }
    .explorable [data-pick] { pointer-events: all; cursor: pointer }
    .explorable .said { min-height: 1.5em; margin: 6px 0 }
    .explorable fieldset { display: grid; grid-template-columns: 10em 1fr; align-items: center; border: 0; margin: 6px 0; padding: 0 }
    .explorable .values { display: flex; flex-wrap: wrap; align-items: center; gap: 4px }
    @media (max-width: 480px) { .explorable fieldset { grid-template-columns: 1fr } }
    .explorable label { display: inline-block; position: relative; padding: 3px 10px; border: 1px solid #8a8a8a; border-radius: 14px; cursor: pointer }
    .explorable label input { position: absolute; opacity: 0; inset: 0; margin: 0; cursor: pointer }
    .explorable fieldset[hidden], .explorable .said[hidden] { display: none }
    .explorable label:has(:checked) { background: #0072b2; border-color: #0072b2; color: #fff }
    .explorable label:has(:focus-visible), .explorable [type=range]:focus-visible { outline: 3px solid #e69f00; outline-offset: 1px }
    .explorable [type=range] { flex: 1 1 180px; max-width: 360px; height: 28px; accent-color: #0072b2 }
    .explorable output { min-width: 4em; font-variant-numeric: tabular-nums }
    @media print { .explorable fieldset { display: none } }`});
  add(live, "div", {innerHTML: `<svg width="0" height="0" style="position: absolute"><defs>${letters}</defs></svg>`});
  const picture = add(live, "div");
  picture.setAttribute("role", "img");
  const sentence = add(live, "p", {className: "said", hidden: !said.length});
  sentence.setAttribute("aria-live", "polite");

  const chosen = choices.map(choice => choice.start), controls = [];
  const choose = (index, value) => { chosen[index] = value; draw(); };
  const draw = () => {
    const state = chosen.reduce((sum, value, index) => sum * choices[index].values.length + value, 0);
    picture.innerHTML = frames[state].map(piece => pieces[piece]).join("");
    picture.setAttribute("aria-label", [alt, said[state]].join(" "));
    sentence.textContent = said[state];
    controls.forEach((mark, index) => mark(chosen[index]));
  };

  choices.forEach(({name, values, slider}, index) => {
    const all = add(live, "fieldset", {hidden: values.length === 1}), group = `choice-${Math.random()}`;
    all.setAttribute("aria-label", name);
    add(all, "span", {textContent: name});
    const row = add(all, "div", {className: "values"});
    if (slider) {
      const range = control(row, {type: "range", min: 0, max: values.length - 1, step: 1});
      const shown = add(row, "output");
      range.setAttribute("aria-label", name);
      range.oninput = () => choose(index, +range.value);
      controls.push(value => {
        range.value = value;
        shown.textContent = values[value];
        range.setAttribute("aria-valuetext", values[value]);
      });
    } else {
      const buttons = values.map((text, value) => {
        const label = add(row, "label");
        const button = control(label, {type: "radio", name: group, onchange: () => choose(index, value)});
        label.append(text);
        return button;
      });
      controls.push(value => { buttons[value].checked = true; });
    }
  });
  const pick = event => {
    const part = event.target.closest("[data-pick]");
    if (!part) return;
    const [index, value] = part.dataset.pick.split(":").map(Number);
    if (chosen[index] !== value) choose(index, value);
  };
  picture.addEventListener("pointerover", pick);
  picture.addEventListener("click", pick);

  draw();
  script.parentNode.before(live);
  if (still) (still.closest(".jp-OutputArea-child") ?? still).style.display = "none";
})(document.currentScript);
