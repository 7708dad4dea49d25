// Submits the page's one form: at once ([data-auto]) or after a countdown ([data-retry-after]).
(() => {
  "use strict";
  const { src } = document.currentScript;
  const root = document.documentElement;
  const form = document.getElementById("start");
  if (!form) return;
  const status = document.getElementById("status");
  const say = document.getElementById("say");
  const LONG = 120; // seconds
  const { auto, retryAfter } = form.dataset;
  const opened = Date.now(); // wall time: a ticket ages while the machine sleeps
  let timer;

  // The fragment, which no server sees, is kept over the POST and its redirect, if the action has it.
  const KEPT = "tmppool-fragment";
  let fragment = location.hash;
  try {
    const [url, kept] = JSON.parse(sessionStorage.getItem(KEPT) || "[]");
    sessionStorage.removeItem(KEPT);
    if (url === location.href) fragment ||= kept;
  } catch {
    /* no storage */
  }
  if (fragment) {
    form.action = form.action.split("#")[0] + fragment;
    for (const button of form.querySelectorAll("[formaction]")) button.formAction += fragment;
  }

  // Loads the page anew. With its fragment the browser would stay where it is.
  const renew = () => {
    const url = location.href.split("#")[0];
    try {
      if (fragment) sessionStorage.setItem(KEPT, JSON.stringify([url, fragment]));
    } catch {
      /* no storage: the document opens at its beginning */
    }
    location.replace(url);
  };

  // idle: the reader decides; wait: counting down; busy: submitted.
  const set = (state, text = "", spoken = "") => {
    clearTimeout(timer);
    root.dataset.state = state;
    status.textContent = text;
    say.textContent = spoken;
  };

  // A navigation to a service that does not answer, or to the proxy in front of it, would end this page: what it does by
  // itself waits until there is an answer. The press of a person is never held back.
  const YOUNG = 5000; // ms since the service has answered with this page
  const AGAIN = 5000; // ms between two questions
  const answers = async () => {
    if (Date.now() - opened < YOUNG) return true;
    const stop = new AbortController();
    const limit = setTimeout(() => stop.abort(), 10000);
    try {
      // A redirect, as of a proxy whose login has expired, is an answer (status 0): the page's own way follows it.
      const { status } = await fetch(src, { method: "HEAD", cache: "no-store", redirect: "manual", signal: stop.signal });
      return status < 502; // what a proxy says in the service's place
    } catch {
      return false;
    } finally {
      clearTimeout(limit);
    }
  };
  const whenAnswered = async (then) => {
    const isThere = await answers();
    if (root.dataset.state !== "wait") return undefined; // the reader has pressed the button, or types a code
    status.textContent = isThere ? "" : "The service does not answer at the moment. Trying again…";
    if (isThere) return then();
    return new Promise((resolve) => {
      timer = setTimeout(() => resolve(whenAnswered(then)), AGAIN + Math.random() * 2000);
    });
  };

  // A ticket is valid for ten minutes: before that, the page is reloaded to get a new one.
  const submit = () => {
    if (Date.now() - opened > 540000) return renew();
    return form.requestSubmit ? form.requestSubmit() : form.querySelector("button").click();
  };

  // Several launch pages of this browser (frames, windows side by side) submit one after the other, each with the
  // cookie that the one before it got: together they get one notebook. The lock is held until this page is left.
  const submitInTurn = () => {
    if (!navigator.locks) return submit(); // plain HTTP
    const held = () => {
      if (root.dataset.state !== "wait") return undefined;
      submit();
      return new Promise((resolve) => setTimeout(resolve, 10000));
    };
    const late = new AbortController();
    setTimeout(() => late.abort(), 10000);
    return navigator.locks.request("tmppool-start", { signal: late.signal }, held).catch(held); // too late, or not allowed
  };

  // Browsers load a lazy frame screens ahead of where the reader is. A frame's view is what the whole window shows of it.
  const isFramed = window.top !== window;
  let isInView = !isFramed || !window.IntersectionObserver;
  if (!isInView) {
    // A frame that only touches the view, or has no size, intersects it as well; a tiny one shows nobody a notebook.
    const LEAST = 100; // pixels of a frame
    const see = (entries) => {
      const { width, height } = entries.at(-1).intersectionRect;
      isInView = width > 0 && height > 0 && Math.min(innerWidth, innerHeight) >= LEAST;
      dispatchEvent(new Event("viewchange"));
    };
    const observer = new IntersectionObserver(see, { threshold: [0, 1e-6] });
    observer.observe(root);
    addEventListener("resize", () => {
      observer.unobserve(root);
      observer.observe(root); // which tells anew: a frame without a size counts as wholly in view
    });
  }

  // Runs only in a page that is seen: not while prerendering, not in a hidden tab, not in a frame out of view.
  const whenSeen = (then) => {
    const pending = () => document.prerendering || document.visibilityState === "hidden" || !isInView;
    if (!pending()) return then();
    const changes = ["prerenderingchange", "visibilitychange", "viewchange"];
    const check = () => {
      if (pending()) return;
      for (const change of changes) removeEventListener(change, check, true);
      if (root.dataset.state === "wait") then();
    };
    for (const change of changes) addEventListener(change, check, true);
  };

  const whenReady = () => whenSeen(() => whenAnswered(() => whenSeen(submitInTurn)));

  // Without cookies, the answer to a frame is a link to a new tab. The service knows a frame by Fetch Metadata, which a
  // browser may not send.
  if (isFramed) {
    const framed = document.createElement("input");
    Object.assign(framed, { type: "hidden", name: "framed", value: "1" });
    form.append(framed);
  }

  // A ticket leads back to the notebook that it was used for, should the browser lose its cookies (a page on another
  // host of the domain can push them out). Kept only where the server asks for it: no notebook has this origin there.
  const { returns, ticket } = form.elements;
  const kept = () => {
    try {
      return (localStorage.getItem("tmppool") || "").split(" ").filter(Boolean);
    } catch {
      return [];
    }
  };
  const keep = () => {
    returns.value = kept().join(" ");
    try {
      localStorage.setItem("tmppool", [ticket.value, ...kept().filter((old) => old !== ticket.value)].slice(0, 8).join(" "));
    } catch {
      /* storage is blocked */
    }
  };

  form.addEventListener("submit", (event) => {
    if (root.dataset.state === "busy") return event.preventDefault();
    if (returns) keep();
    set("busy", "", auto === undefined ? "Trying again…" : "Starting your notebook…");
    // No navigation yet: the request was stopped, or is slow. Show the button again.
    timer = setTimeout(() => set("idle", "", "This is taking longer than usual. You can try again."), 20000);
  });

  // Restored by the back button: show the button, do not start another notebook.
  addEventListener("pageshow", (event) => event.persisted && set("idle"));
  addEventListener("pagehide", () => clearTimeout(timer));

  // In a sandbox without allow-same-origin there is no way to a notebook, and without allow-forms no answer that says so.
  if (self.origin === "null") {
    return set("idle", "The page around this frame has to add allow-same-origin and allow-forms to its sandbox attribute.");
  }

  const [nav] = performance.getEntriesByType("navigation");
  if (nav && nav.type === "back_forward") return set("idle");

  if (auto === undefined && retryAfter === undefined) return set("idle");
  if (auto !== undefined) {
    set("wait");
    return whenReady();
  }
  // Jitter, so that a whole class does not retry in the same instant.
  const wanted = Math.max(1, Number(retryAfter) || 5);
  const due = Date.now() + (wanted + Math.random() * Math.min(20, wanted * 0.15)) * 1000;
  const tick = () => {
    const left = Math.ceil((due - Date.now()) / 1000);
    if (left <= 0) return whenReady();
    const [n, unit] = left > 90 ? [Math.round(left / 60), "minute"] : [left, "second"];
    // The page's text already tells the length of a long wait.
    status.textContent = left > LONG ? "This page will try again then" : `Trying again in ${n} ${unit}${n === 1 ? "" : "s"}`;
    timer = setTimeout(tick, 250);
  };
  set("wait");
  tick();
  // Do not submit while the reader types a code.
  if (form.elements.code) form.elements.code.addEventListener("input", () => set("idle"), { once: true });
})();
