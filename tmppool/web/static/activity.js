// Runs in every page that a notebook shows, also in frames, before anything of the page's own: what a page does later,
// such as stopping events or replacing functions, does not keep it from its work. Reports that a person is there, by
// events that only a person causes, at most a few times per idle time. What a page does by itself is never reported,
// also where that makes trusted events: scroll (wheel, touch, keys and pointer tell who scrolls), input (beforeinput
// does not come of execCommand), the click that a label passes on. It draws nothing: session.js in the top page does,
// which hears the answers on the same channel.
(() => {
  "use strict";
  const script = document.currentScript;
  const path = script && script.dataset.touch;
  if (!path || "running" in script.dataset) return;
  script.dataset.running = "";
  const url = new URL(path, location.href); // the page's own base may be on another site

  // The browser's own, also when the page has put others in their place.
  const { fetch, setTimeout, clearTimeout } = window;
  const { now } = Date;
  script.fetch = fetch; // for session.js, which comes later

  const LONGEST = 30000; // ms between two reports, and less if the idle time is short
  const RETRY = 3000; // ms after a report that did not arrive
  const KINDS = ["pointerdown", "pointermove", "click", "keydown", "wheel", "touchstart", "touchmove", "beforeinput", "drop"];
  let pause = 5000; // until the service has told the idle time
  let reported = -Infinity;
  let timer = 0;
  let ended = false;
  let place = ""; // of the pointer

  // All pages of this notebook in this browser: one report is for all of them.
  let channel = null;
  try {
    channel = new BroadcastChannel(`tmppool:${path}`);
    channel.addEventListener("message", ({ data }) => {
      clearTimeout(timer);
      timer = 0;
      if (data && data.answer) take(data.answer);
      reported = now();
    });
  } catch {
    /* each page reports by itself */
  }

  const take = ({ status, body }) => {
    ended = Boolean(body) && (body.state === "gone" || body.state === "foreign") && status >= 400;
    const idle = body ? body.idle_expires_at - body.now : NaN;
    if (body && body.state === "live") pause = idle > 0 ? Math.min(LONGEST, idle * 250) : LONGEST;
  };

  const report = () => {
    clearTimeout(timer);
    timer = 0;
    reported = now();
    fetch(`${url}/touch`, {
      method: "POST",
      credentials: "same-origin",
      cache: "no-store",
      keepalive: true, // the page may be on its way out
      headers: { Accept: "application/json" },
    })
      .then(async (answer) => ({ ok: answer.ok, status: answer.status, body: await answer.json() }))
      .then((answer) => {
        take(answer);
        if (channel) channel.postMessage({ answer });
      })
      .catch(() => {
        reported = now() - pause + RETRY;
      });
  };

  const note = () => {
    if (ended) return;
    const wait = reported + pause - now();
    if (wait <= 0) report();
    else timer ||= setTimeout(report, wait); // a page that clears all timers loses this report, not the next
  };

  // A page that moves under a resting pointer makes trusted events too.
  const hasMoved = (event) => {
    const last = place;
    place = `${event.screenX} ${event.screenY}`;
    return Boolean(event.movementX || event.movementY || (last && last !== place));
  };

  // A click without a pointer may be a screen reader's; a script's does not activate the page.
  const isActivation = () => Boolean(navigator.userActivation && navigator.userActivation.isActive);

  const see = (event) => {
    if (!event.isTrusted) return;
    if (event.type === "pointermove" ? hasMoved(event) : event.type !== "click" || isActivation()) note();
  };

  const watch = (view) => {
    for (const kind of KINDS) view.addEventListener(kind, see, { capture: true, passive: true });
    view.document.addEventListener("load", (event) => watchFrame(event.target), { capture: true });
    for (const frame of view.document.querySelectorAll("iframe,frame")) watchFrame(frame);
  };

  // Frames whose content did not come from the notebook's server, such as `srcdoc`, have no script of their own.
  const watchFrame = (frame) => {
    try {
      const view = frame.contentWindow;
      if (view && !view.document.querySelector("script[data-touch]")) watch(view);
    } catch {
      /* of another origin */
    }
  };

  watch(window);
  document.addEventListener("visibilitychange", (event) => {
    if (event.isTrusted && document.visibilityState === "visible") note(); // who comes back to the tab is here
  });
  addEventListener("pagehide", () => timer && report());
})();
