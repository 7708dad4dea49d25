// Carries the fragment of this page's URL, which no server sees, on to the link that opens the same document.
(() => {
  "use strict";
  const link = document.querySelector("a[data-same-document]");
  if (link && location.hash && !link.hash) link.hash = location.hash;
})();
