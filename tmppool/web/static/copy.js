// The buttons that copy the field beside them.
(() => {
  "use strict";
  const SHOWN = 4000; // milliseconds
  document.documentElement.classList.add("scripted");

  const copy = async (field) => {
    field.select();
    try {
      await navigator.clipboard.writeText(field.value);
      return true;
    } catch {
      return document.execCommand("copy"); // the Clipboard API needs a secure context
    }
  };

  document.addEventListener("click", async ({ target }) => {
    const button = target.closest("[data-copies]");
    if (!button) return;
    const box = button.parentElement;
    const said = box.querySelector("[role=status]");
    const isCopied = await copy(box.querySelector("input, textarea"));
    said.textContent = isCopied ? "Copied." : "It is selected. Copy it with Ctrl+C or ⌘C.";
    setTimeout(() => (said.textContent = ""), SHOWN);
  });

  document.addEventListener("focusin", ({ target }) => {
    if (target.matches(".copy input, .copy textarea")) target.select();
  });
})();
