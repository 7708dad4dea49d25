// Shows the button that copies the link, where there is one.
(() => {
  "use strict";
  const link = document.getElementById("link");
  const button = document.getElementById("copy");
  const said = document.getElementById("said");
  if (!link) return;
  button.hidden = false;
  link.addEventListener("focus", () => link.select());
  button.addEventListener("click", async () => {
    link.select();
    try {
      await navigator.clipboard.writeText(link.value);
      said.textContent = "Copied.";
    } catch {
      // The Clipboard API needs a secure context.
      said.textContent = "The link is selected. Copy it with Ctrl+C or ⌘C.";
    }
  });
})();
