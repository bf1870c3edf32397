/* What is wider than the page is scrolled by keyboard, too: it takes the focus, and nothing else does. */
function reachable() {
  for (const box of document.querySelectorAll("pre, .table-wrapper, table, .math-wrapper, .cell_output, .output")) {
    const wide = box.scrollWidth > box.clientWidth && getComputedStyle(box).overflowX !== "visible";
    if (wide) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
}
addEventListener("load", () => (window.MathJax?.startup?.promise ?? Promise.resolve()).then(reachable));
addEventListener("resize", reachable);
addEventListener("toggle", reachable, true); // a folded answer that is opened

/* Arrow keys turn the page; where something has the focus that they scroll or choose in, they do not. */
document.documentElement.addEventListener("keydown", (event) => {
  if (/^Arrow(Left|Right)$/.test(event.key) && !event.target.matches("body, a")) event.stopPropagation();
});

/* The two side bars have names for who hears the page; the page's head says them in its language. */
addEventListener("DOMContentLoaded", () => {
  const names = document.querySelector('meta[name="side-bars"]').content.split("|");
  for (const [i, bar] of ["sidebar", "toc"].entries()) {
    document.querySelector(`aside.${bar}-drawer`)?.setAttribute("aria-label", names[i]);
  }
});
