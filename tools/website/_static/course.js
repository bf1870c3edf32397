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

/* The two side bars have names for who hears the page. */
addEventListener("DOMContentLoaded", () => {
  const names = document.documentElement.lang.startsWith("zh") ? ["课程目录", "本页目录"] : ["The course", "This page"];
  document.querySelector("aside.sidebar-drawer")?.setAttribute("aria-label", names[0]);
  document.querySelector("aside.toc-drawer")?.setAttribute("aria-label", names[1]);
});
