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
