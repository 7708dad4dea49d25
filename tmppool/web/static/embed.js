// Shows what to copy while the author types and chooses. The same page says it without scripts.
(() => {
  "use strict";
  const PAUSE = 250; // milliseconds after a key
  const form = document.getElementById("embed");
  let asking = null;
  let timer = 0;
  let isChosen = new URLSearchParams(location.search).has("as"); // else a pasted link says in which way it opens

  const putWays = (page) => {
    const [old, fresh] = [document.getElementById("ways"), page.getElementById("ways")];
    if (old.querySelectorAll("input").length !== fresh.querySelectorAll("input").length) old.replaceWith(fresh);
    else if (!isChosen) form.elements.as.value = page.querySelector("#ways :checked").value;
    if (form.elements.pool) form.elements.pool.value = page.querySelector("[name=pool]").value; // a link may name it
  };

  const put = (page) => {
    const open = document.querySelector(".snippets [open] summary")?.textContent;
    const list = page.querySelector(".choose");
    if (list && !list.querySelector("[aria-current]")) list.open ||= Boolean(document.querySelector(".choose[open]"));
    for (const id of ["choose", "copy", "documents"]) document.getElementById(id).replaceWith(page.getElementById(id));
    for (const summary of document.querySelectorAll(".snippets summary")) {
      if (summary.textContent === open) summary.parentElement.open = true;
    }
    putWays(page);
    const [said, fresh] = [document.getElementById("found"), page.getElementById("found")];
    said.className = fresh.className;
    if (said.textContent !== fresh.textContent) said.textContent = fresh.textContent;
    form.elements.document.ariaInvalid = page.querySelector("[name=document]").ariaInvalid;
  };

  const ask = async () => {
    clearTimeout(timer);
    if (asking) asking.abort();
    const mine = (asking = new AbortController());
    const fields = new FormData(form);
    if (!isChosen) fields.delete("as");
    const url = `/embed?${new URLSearchParams(fields)}`;
    try {
      const answer = await fetch(url, { signal: mine.signal, headers: { Accept: "text/html" } });
      if (!answer.ok) throw new Error(answer.statusText);
      put(new DOMParser().parseFromString(await answer.text(), "text/html"));
      history.replaceState(null, "", url);
      delete document.documentElement.dataset.lost;
    } catch {
      if (!mine.signal.aborted) document.documentElement.dataset.lost = ""; // shows the button again
    }
  };

  form.dataset.live = "";
  form.addEventListener("input", ({ target }) => {
    isChosen ||= target.name === "as";
    clearTimeout(timer);
    timer = setTimeout(ask, target.name === "document" ? PAUSE : 0);
  });
  form.addEventListener("submit", (event) => {
    if ("lost" in document.documentElement.dataset) return;
    event.preventDefault();
    ask();
  });
})();
