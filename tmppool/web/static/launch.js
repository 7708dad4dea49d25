// Submits the page's one form: at once ([data-auto]) or after a countdown ([data-retry-after]).
(() => {
  "use strict";
  const root = document.documentElement;
  const form = document.getElementById("start");
  if (!form) return;
  const status = document.getElementById("status");
  const say = document.getElementById("say");
  const LONG = 120; // seconds
  const { auto, retryAfter } = form.dataset;
  const opened = Date.now(); // goes on while the machine sleeps, as the ticket's age does
  let timer;

  // idle: the reader decides; wait: counting down; busy: submitted.
  const set = (state, text = "", spoken = "") => {
    clearTimeout(timer);
    root.dataset.state = state;
    status.textContent = text;
    say.textContent = spoken;
  };

  // A ticket is good for ten minutes; after that the page is asked for anew, which brings a fresh one.
  const submit = () => {
    if (Date.now() - opened > 540000) return location.replace(location.href);
    return form.requestSubmit ? form.requestSubmit() : form.querySelector("button").click();
  };

  // Only for a reader who is looking: not while prerendering, not in a hidden tab.
  const whenSeen = (then) => {
    const pending = () => document.prerendering || document.visibilityState === "hidden";
    if (!pending()) return then();
    const check = () => {
      if (pending()) return;
      removeEventListener("prerenderingchange", check, true);
      removeEventListener("visibilitychange", check, true);
      if (root.dataset.state === "wait") then();
    };
    addEventListener("prerenderingchange", check, true);
    addEventListener("visibilitychange", check, true);
  };

  form.addEventListener("submit", (event) => {
    if (root.dataset.state === "busy") return event.preventDefault();
    set("busy", "", auto === undefined ? "Trying again…" : "Starting your notebook…");
    // Still here: the request was stopped, or is slow. Give the button back.
    timer = setTimeout(() => set("idle", "", "This is taking longer than usual. You can try again."), 20000);
  });

  // Back from the notebook: show the button, do not start another one unasked.
  addEventListener("pageshow", (event) => event.persisted && set("idle"));
  addEventListener("pagehide", () => clearTimeout(timer));

  const [nav] = performance.getEntriesByType("navigation");
  if (nav && nav.type === "back_forward") return set("idle");

  if (auto === undefined && retryAfter === undefined) return set("idle");
  if (auto !== undefined) {
    set("wait");
    return whenSeen(submit);
  }
  // A little jitter, so that a whole class does not return in the same instant.
  const wanted = Math.max(1, Number(retryAfter) || 5);
  const due = Date.now() + (wanted + Math.random() * Math.min(20, wanted * 0.15)) * 1000;
  const tick = () => {
    const left = Math.ceil((due - Date.now()) / 1000);
    if (left <= 0) return whenSeen(submit);
    const [n, unit] = left > 90 ? [Math.round(left / 60), "minute"] : [left, "second"];
    // How long a long wait is, the page's text says already.
    status.textContent = left > LONG ? "This page will try again then" : `Trying again in ${n} ${unit}${n === 1 ? "" : "s"}`;
    timer = setTimeout(tick, 250);
  };
  set("wait");
  tick();
  // Who types a code is not to be sent off in the middle of it.
  if (form.elements.code) form.elements.code.addEventListener("input", () => set("idle"), { once: true });
})();
