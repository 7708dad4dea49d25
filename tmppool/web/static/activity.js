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
  if (!path) return;
  // The app's own script is its page's first again, and a copy that it makes of the page has none of ours. What was
  // removed is fetched and runs nevertheless.
  const notice = script.previousElementSibling; // session.js, where the page is not known to be in a frame
  const hasNotice = Boolean(notice && notice.dataset.session);
  if (hasNotice) notice.remove();
  script.remove();
  // What is watched is marked on its window, which a page that is written anew keeps.
  const MARK = Symbol.for("tmppool");
  if (!window[MARK]) Object.defineProperty(window, MARK, { value: {} });
  const mark = window[MARK];
  if (mark.fetch) return;
  mark.hasNotice ||= hasNotice;
  const url = new URL(path, location.href); // the page's own base may be on another site

  // The browser's own, also when the page has put others in their place.
  const { fetch, setInterval, setTimeout, clearTimeout } = window;
  const { addEventListener } = EventTarget.prototype;
  const { attachShadow } = Element.prototype;
  const shadowOf = Object.getOwnPropertyDescriptor(Element.prototype, "shadowRoot").get; // a form's field may be so named
  const { now } = Date;
  mark.fetch = fetch; // for session.js

  const LONGEST = 30000; // ms between two reports, and less if the idle time is short
  const RETRY = 3000; // ms after a report that did not arrive
  const LOOK = 2000; // ms between two looks for pages without a script of ours
  const MOST_ELEMENTS = 20000; // that are looked at for a shadow tree of their own: a few ms
  const KINDS = [
    "pointerdown", "pointermove", "click", "keydown", "wheel", "touchstart", "touchmove", "beforeinput", "drop",
    "visibilitychange", "pagehide",
  ];
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
  const isActivation = ({ view }) => Boolean(view && view.navigator.userActivation && view.navigator.userActivation.isActive);

  const isPersons = (event) => {
    if (event.type === "pointermove") return hasMoved(event);
    if (event.type === "click") return isActivation(event);
    if (event.type === "visibilitychange") return event.target.visibilityState === "visible"; // who comes back is here
    return true;
  };

  const see = (event) => {
    if (event.type === "pagehide") timer && report();
    else if (event.isTrusted && isPersons(event)) note();
  };

  // --- Pages that did not come from the notebook's server, and so have no script of ours -----------------------------
  // Frames with `srcdoc` or a blob, pop-ups, and whatever is written anew: that removes all listeners. So all are looked
  // at again and again; a listener that is still there is not added twice.

  const popups = new Set();
  const trees = new Set(); // shadow trees, whose frames no window lists; held weakly
  const known = new WeakSet();

  const keep = (tree) => {
    if (!known.has(tree)) trees.add(new WeakRef(tree));
    known.add(tree);
    return tree;
  };

  const keepDeclared = (part) => {
    for (const element of part.querySelectorAll("*")) {
      const tree = shadowOf.call(element);
      if (tree) keepDeclared(keep(tree));
    }
  };

  // So that what it opens is known.
  const hold = (view) => {
    const { open } = view;
    if (!open || open[MARK]) return; // by another document of ours too, which would wrap this one's again
    const ours = {
      open(...given) {
        const popup = open.apply(this || view, given);
        if (popup) popups.add(popup);
        return popup;
      },
    };
    Object.defineProperty(ours.open, MARK, { value: true });
    Object.assign(view, ours);
  };

  const watch = (view) => {
    for (const kind of KINDS) addEventListener.call(view, kind, see, { capture: true, passive: true });
    for (let each = 0; view[each]; each += 1) watchOther(view[each]);
  };

  const watchOther = (view) => {
    try {
      if (view[MARK] && view[MARK].fetch) return;
      hold(view);
      watch(view);
    } catch {
      /* it is of another origin, or gone */
    }
  };

  const look = () => {
    watch(window);
    if (!document.hidden && document.getElementsByTagName("*").length <= MOST_ELEMENTS) keepDeclared(document);
    for (const popup of popups) popup.closed ? popups.delete(popup) : watchOther(popup);
    for (const held of trees) {
      const tree = held.deref();
      if (!tree) trees.delete(held);
      else for (const frame of tree.querySelectorAll("iframe,object")) watchOther(frame.contentWindow);
    }
  };

  hold(window);
  Object.assign(Element.prototype, {
    attachShadow(init) {
      return keep(attachShadow.call(this, init));
    },
  });

  look();
  setInterval(look, LOOK);
  addEventListener.call(window, "load", look); // before anybody clicks in a frame that is here by then
})();
