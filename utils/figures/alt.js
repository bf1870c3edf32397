// Gives the picture above its alt text, which neither JupyterLab nor nbconvert writes, and room in a narrow window.
(script => {
  const above = image => image.compareDocumentPosition(script) & Node.DOCUMENT_POSITION_FOLLOWING;
  const picture = [...document.images].filter(above).pop();
  if (!picture) return;
  picture.alt = script.parentNode.querySelector("details").lastChild.textContent;
  Object.assign(picture.style, {maxWidth: "100%", height: "auto"});
})(document.currentScript);
