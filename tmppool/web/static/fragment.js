// Carries the fragment of this page's URL, which no server sees, on to the link or form that opens the same document.
(() => {
  "use strict";
  if (!location.hash) return;
  for (const node of document.querySelectorAll("[data-same-document]")) {
    const target = node instanceof HTMLFormElement ? "action" : "href";
    if (!node[target].includes("#")) node[target] += location.hash;
  }
})();
