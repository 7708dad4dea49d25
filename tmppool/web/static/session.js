// Runs in the notebook's pages that are not in a frame of another such page. Polls the session, warns before it ends, and
// says when it has ended. In Jupyter's pages its owner gets a small button to share or end it, unless a frame on
// another's page shows them. It does not touch the page otherwise: no globals, a shadow root of its own, never the focus. A failed request never counts as an end.
(() => {
  "use strict";
  const script = document.currentScript || document.querySelector("script[data-session]");
  const path = script && script.dataset.session;
  if (!path) return;
  if (script.isConnected) script.remove(); // as activity.js does, unless it comes later
  const MARK = Symbol.for("tmppool");
  if (!window[MARK]) Object.defineProperty(window, MARK, { value: {} });
  const mark = window[MARK];
  if (mark.isRunning) return;
  mark.isRunning = mark.hasNotice = true;
  try {
    if (parent !== window && parent[MARK].hasNotice) return; // a frame in a page that has this script
  } catch {
    /* framed by another origin, or by a page without our scripts: run here */
  }
  let isOnOthersPage = false; // in a frame of a page author's
  try {
    void top.location.href;
  } catch {
    isOnOthersPage = true;
  }
  const where = isOnOthersPage ? "page" : "tab";
  const fetch = mark.fetch || window.fetch; // the browser's own, also where the page has replaced it
  const key = path.split("/").pop();
  const at = (place) => new URL(place, location.href).href; // the page's own base may be on another site
  const isApp = "app" in script.dataset; // a page that is none of Jupyter's

  const SOON = 300; // seconds before an end at which to show the notice
  const LAST = 60; // and to show it again, if it was dismissed
  const LONGEST_NAMED = 7000; // characters: the service takes a URL of 8000
  let ended = false;
  let failures = 0;
  let asking = null;
  let again = false;
  let timer = 0;
  let session = null; // { idle, life }: local times in ms of either end
  let dismissed = "";

  // --- Drawing -------------------------------------------------------------------------------

  const css = `
:host{all:initial!important;position:fixed!important;inset:auto 0 0!important;z-index:2147483647!important;pointer-events:none!important;display:block!important}
*{box-sizing:border-box}
.box{
  --card:#fff;--ink:#143230;--soft:#48625f;--line:#cfdedb;--go:#0b6e69;--go-on:#085752;--go-ink:#fff;
  pointer-events:auto;position:absolute;background:var(--card);color:var(--ink);border:1px solid var(--line);
  font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;
  box-shadow:0 16px 40px -12px #06201e66,0 2px 6px #06201e1f;
}
.dark{--card:#14201f;--ink:#e7f1ef;--soft:#a3bab6;--line:#35504c;--go:#5bcbc0;--go-on:#7fdcd2;--go-ink:#05211f}
.end{left:50%;bottom:40px;transform:translateX(-50%);width:min(34rem,calc(100vw - 24px));max-height:calc(100vh - 64px);overflow:auto;padding:22px 24px 24px;border-radius:18px;border-top:4px solid var(--go)}
.about{
  --card:#fff;--soft:#48625f;--line:#cfdedb;--go:#0b6e69;
  pointer-events:auto;position:absolute;right:10px;bottom:32px;width:28px;height:28px;padding:0;border-radius:50%;background:var(--card);
  border:1px solid var(--line);color:var(--soft);display:grid;place-items:center;opacity:.85;box-shadow:0 1px 4px #06201e2e;
}
.about.dark{--card:#14201f;--soft:#a3bab6;--line:#35504c;--go:#5bcbc0}
.about:hover,.about:focus-visible{opacity:1;color:var(--go)}
.about svg{width:15px;height:15px;display:block}
@media (pointer:coarse){.about{width:44px;height:44px}.about svg{width:20px;height:20px}}
.box~.about,.about[hidden]{display:none}
.hint{right:12px;bottom:36px;max-width:min(26rem,calc(100vw - 24px));padding:8px 8px 8px 16px;border-radius:14px;font-size:14px;display:flex;gap:10px;align-items:center}
h2{margin:0 36px 8px 0;font-size:19px;line-height:1.3;font-weight:650;letter-spacing:-.01em}
p{margin:0 0 10px}
.soft{color:var(--soft)}
.row{display:flex;flex-wrap:wrap;gap:8px;margin-top:18px}
.hint span{flex:1;overflow-wrap:anywhere}
a,button{font:inherit;font-weight:600;border-radius:10px;cursor:pointer;text-decoration:none;border:1px solid transparent;padding:8px 16px;text-align:center;background:none;color:inherit}
.hint a,.hint button{padding:5px 12px;white-space:nowrap}
.go{background:var(--go);color:var(--go-ink)}
.go:hover{background:var(--go-on)}
.quiet{border-color:var(--line)}
.hint button.x,.x{padding:0;width:32px;height:32px;flex:none;font-size:20px;line-height:1;font-weight:400;color:var(--soft)}
.end .x{position:absolute;top:14px;right:14px}
.quiet:hover,.x:hover{background:color-mix(in srgb,var(--soft) 14%,transparent)}
:focus-visible{outline:3px solid var(--go);outline-offset:2px}
[disabled]{opacity:.6;cursor:default}
.said{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
@media (prefers-reduced-motion:no-preference){.box{animation:in .18s ease-out}@keyframes in{from{opacity:0}}}
@media print{.box,.about{display:none}}
`;
  let host = null;
  let layer = null;
  let shown = null; // the notice on screen: { key, text }

  const make = (tag, className, text) => {
    const node = document.createElement(tag);
    if (className) node.className = className;
    if (text) node.textContent = text;
    return node;
  };

  const button = (className, text, act, label) => {
    const node = make("button", className, text);
    node.type = "button";
    if (label) node.setAttribute("aria-label", label);
    node.addEventListener("click", act);
    return node;
  };

  const dark = () => {
    const theme = document.body && document.body.dataset.jpThemeLight; // the notebook's own theme
    return theme ? theme === "false" : matchMedia("(prefers-color-scheme: dark)").matches;
  };

  const layerOf = () => {
    if (!host) {
      host = document.createElement("tmppool-notice");
      layer = host.attachShadow({ mode: "open" });
      try {
        const sheet = new CSSStyleSheet();
        sheet.replaceSync(css);
        layer.adoptedStyleSheets = [sheet];
      } catch {
        layer.append(make("style", "", css));
      }
      // Keys pressed here must not trigger the notebook's shortcuts.
      host.addEventListener("keydown", (event) => event.stopPropagation());
    }
    // Not into the body: it may be a frameset, or a transformed box, to which what is fixed would be relative.
    if (!host.isConnected) document.documentElement.append(host);
    return layer;
  };

  // Above all that the page shows, a dialog and a fullscreen element too. A document of another kind has no top layer.
  const raise = () => {
    try {
      host.popover = "manual";
      if (host.matches(":popover-open")) host.hidePopover();
      host.showPopover();
    } catch {
      /* an old browser: the notice may be covered */
    }
  };
  document.addEventListener("fullscreenchange", () => shown && raise());

  // Replaces the box on screen by `box`, or removes it.
  const draw = (box) => {
    shown = null;
    if (host) for (const old of layer.querySelectorAll(".box")) old.remove();
    if (!box) return;
    if (dark()) box.classList.add("dark");
    layerOf().prepend(box); // before the owner's button, which CSS hides then
    raise();
  };

  // The owner's button, which opens the page for sharing and ending the notebook.
  let about = null;
  const showAbout = (isOwner) => {
    if (about) about.hidden = !isOwner;
    if (!isOwner) return;
    if (!about) {
      about = make("a", "about");
      about.target = "_blank";
      about.rel = "noopener";
      about.title = "Share this notebook, or end it";
      about.setAttribute("aria-label", about.title);
      const icon = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      icon.setAttribute("viewBox", "0 0 16 16");
      icon.setAttribute("aria-hidden", "true");
      const drawn = document.createElementNS("http://www.w3.org/2000/svg", "path");
      drawn.setAttribute("d", "M4 8l8-4.500M4 8l8 4.500M12 2a1.500 1.500 0 1 1 0 3 1.500 1.500 0 0 1 0-3zM4 6.500a1.500 1.500 0 1 1 0 3 1.500 1.500 0 0 1 0-3zm8 4.500a1.500 1.500 0 1 1 0 3 1.500 1.500 0 0 1 0-3z");
      drawn.setAttribute("fill", "currentColor");
      drawn.setAttribute("stroke", "currentColor");
      drawn.setAttribute("stroke-width", "1.300");
      icon.append(drawn);
      about.append(icon);
      const lead = () => {
        about.href = at(`/session/${key}${openPath()}`);
      };
      for (const kind of ["pointerenter", "pointerdown", "focus", "contextmenu"]) about.addEventListener(kind, lead);
      lead();
    }
    about.classList.toggle("dark", dark());
    if (!about.isConnected || !host.isConnected) layerOf().append(about);
  };

  // The path that is open now, so that a fresh notebook can open it too. It may change between calls.
  const openPath = () => {
    const [, open] = location.pathname.split(`/${key}/`);
    const named = open ? `?path=${encodeURIComponent(open)}` : "";
    return named.length < LONGEST_NAMED ? named : "";
  };

  const freshLink = (given, text) => {
    const link = make("a", "go", text);
    link.target = isOnOthersPage ? "_self" : "_top";
    try {
      const to = new URL(given, location.href);
      if (to.protocol !== "https:" && to.protocol !== "http:") return null;
      if (!to.hash) to.hash = location.hash; // to the same place in the same document
      link.href = to.href;
    } catch {
      return null;
    }
    return link;
  };

  // --- The notebook has ended ----------------------------------------------------------------

  const titleOf = (answer) =>
    answer.state === "foreign" ? "This browser no longer has access to this notebook" : "This notebook has ended";

  const drawEnd = (answer) => {
    const box = make("section", "box end");
    box.setAttribute("role", "alertdialog");
    box.setAttribute("aria-live", "assertive");
    box.setAttribute("aria-labelledby", "t");
    box.setAttribute("aria-describedby", "d");
    box.dataset.reason = String(answer.reason || "");
    draw(box);

    // Filled after it is in the page, so that screen readers announce it although it has no focus.
    const title = make("h2", "", titleOf(answer));
    title.id = "t";
    const text = make("div");
    text.id = "d";
    if (answer.explanation) text.append(make("p", "", String(answer.explanation)));
    text.append(
      make("p", "soft",
        `Nothing can be run or saved any more. While this ${where} stays open, you can still copy ` +
          "or download unsaved work from the screen."),
    );
    const row = make("div", "row");
    const link = freshLink(answer.fresh_url, "Start a fresh notebook");
    if (link) row.append(link);
    const close = () => drawEnded(answer);
    row.append(button("quiet", `Keep this ${where} for now`, close));
    box.append(title, text, row, button("x", "×", close, "Dismiss"));
    box.addEventListener("keydown", (event) => event.key === "Escape" && close());
  };

  // Shown after the dialog was dismissed: one line in the corner, which can be dismissed too.
  const drawEnded = (answer) => {
    const box = make("section", "box hint");
    box.setAttribute("aria-label", titleOf(answer));
    const link = freshLink(answer.fresh_url, "Start fresh");
    box.append(make("span", "", titleOf(answer)));
    if (link) box.append(link);
    box.append(button("x", "×", () => draw(null), "Dismiss"));
    draw(box);
  };

  const end = (answer) => {
    ended = true;
    clearTimeout(timer);
    showAbout(false);
    drawEnd(answer);
  };

  // --- Its end is near -----------------------------------------------------------------------

  const left = () => {
    // If the lifetime ends first, activity cannot extend the session.
    const idle = session.idle < session.life;
    return { idle, seconds: (Math.min(session.idle, session.life) - Date.now()) / 1000 };
  };

  const hintText = ({ idle, seconds }) => {
    const minutes = Math.ceil(seconds / 60);
    const when = seconds <= 0 ? "is about to end" : minutes > 1 ? `ends in ${minutes} min` : "ends in less than a minute";
    return `This notebook ${when}${idle ? " unless you use it." : ". Download anything you want to keep."}`;
  };

  const showHint = () => {
    if (ended || !session) return;
    const now = left();
    if (now.seconds > SOON) {
      dismissed = "";
      if (shown) draw(null);
      return;
    }
    const key = (now.idle ? "idle" : "life") + (now.seconds > LAST ? "-soon" : "-last");
    if (key === dismissed) return;
    const text = hintText(now);
    if (!shown || shown.key.slice(0, 4) !== key.slice(0, 4)) {
      const box = make("section", "box hint");
      box.setAttribute("aria-label", "Notice about this notebook");
      const line = make("span");
      const said = make("div", "said"); // announced when it appears and in the last minute, not every minute
      said.setAttribute("role", "status");
      box.append(line, said);
      if (now.idle) {
        const keep = button("go", "Keep it", () => {
          keep.disabled = true;
          extend().then((kept) => {
            keep.disabled = false;
            if (kept) return ask();
            line.textContent = "That did not work. Running a cell keeps the notebook too.";
          });
        });
        box.append(keep);
      }
      box.append(
        button("x", "×", () => {
          dismissed = shown ? shown.key : key;
          draw(null);
        }, "Dismiss"),
      );
      draw(box);
      shown = { key: "", text: "", line, said };
    }
    if (shown.text !== text) shown.line.textContent = shown.text = text;
    if (shown.key !== key) {
      shown.key = key;
      shown.said.textContent = text;
    }
  };

  // --- The proxy in front changes the host ----------------------------------------------------

  let isCutOff = false;
  const showCutOff = (isRefused) => {
    if (isRefused === isCutOff) return;
    isCutOff = isRefused;
    draw(null);
    if (!isRefused) return;
    const text =
      "Cells cannot run here: the proxy in front of this service changes what the browser sends. " +
      "Please tell the people who run it; the service's log says what to set.";
    const box = make("section", "box hint");
    box.setAttribute("role", "alert");
    draw(box);
    box.append(make("span", "", text), button("x", "×", () => draw(null), "Dismiss"));
  };

  // --- Polling -------------------------------------------------------------------------------

  const request = async (method, place) => {
    const stop = new AbortController();
    const limit = setTimeout(() => stop.abort(), 10000);
    try {
      const answer = await fetch(at(place), {
        method,
        credentials: "same-origin",
        cache: "no-store",
        headers: { Accept: "application/json" },
        signal: stop.signal,
      });
      return { ok: answer.ok, status: answer.status, body: await answer.json().catch(() => null) };
    } catch {
      return null; // no network, or too slow
    } finally {
      clearTimeout(limit);
    }
  };

  const take = (answer) => {
    const body = answer && answer.body;
    if (body && body.state === "gone" && (answer.status === 424 || answer.status === 404)) {
      failures = 0;
      end(body);
      return true;
    }
    if (body && body.state === "foreign" && answer.status === 403) {
      end({ ...body, explanation: "Its owner may have stopped sharing it." });
      return true;
    }
    if (answer && answer.ok && body && body.state === "live") {
      failures = 0;
      const at = (t) => (Number.isFinite(t) && Number.isFinite(body.now) ? Date.now() + (t - body.now) * 1000 : Infinity);
      session = { idle: at(body.idle_expires_at), life: at(body.expires_at) };
      showHint();
      if (!isApp) {
        showCutOff(body.cut_off === true);
        showAbout(body.role === "owner" && !isOnOthersPage); // its page opens in a tab, which lacks the frame's cookies
      }
      return true;
    }
    return false;
  };

  const extend = async () => {
    const answer = await request("POST", `${path}/extend${openPath()}`);
    return take(answer) || Boolean(answer && answer.ok);
  };

  const plan = () => {
    clearTimeout(timer);
    if (ended) return;
    const hidden = document.visibilityState === "hidden";
    let wait = hidden ? 60 : 15;
    if (failures) {
      wait = Math.max(wait, Math.min(120, 15 * 2 ** (failures - 1))) * (0.85 + Math.random() * 0.3);
    } else if (session) {
      // Poll sooner if the notice or the end is due.
      const { seconds } = left();
      for (const due of [seconds - SOON, seconds]) if (due > -10) wait = Math.min(wait, Math.max(due + 1, 2));
      if (seconds < LAST) wait = Math.min(wait, 5);
    }
    if (shown) wait = Math.min(wait, 30); // its minutes count down, also offline
    timer = setTimeout(ask, wait * 1000);
  };

  const ask = () => {
    if (ended) return Promise.resolve();
    clearTimeout(timer);
    asking ||= request("GET", `${path}${openPath()}`)
      .then((answer) => {
        if (ended || take(answer)) return;
        failures += 1;
        showHint(); // the countdown goes on offline
      })
      .catch(() => {
        failures += 1;
      })
      .finally(() => {
        asking = null;
        const now = again && failures > 0;
        again = false;
        if (now) ask();
        else plan();
      });
    return asking;
  };

  let last = 0;
  const askNow = () => {
    if (document.visibilityState === "hidden") return plan();
    if (Date.now() - last < 1000) return;
    last = Date.now();
    failures = 0;
    again = asking !== null; // the current request may date from before the network was back
    ask();
  };

  // What activity.js was answered, in any page of this notebook; of an end this page asks for itself, with its own path.
  try {
    new BroadcastChannel(`tmppool:${path}`).addEventListener("message", ({ data }) => {
      if (ended || !data || !data.answer) return;
      const body = data.answer.body;
      if (body && body.state === "live") {
        take(data.answer);
        plan();
      } else askNow();
    });
  } catch {
    /* it asks from time to time anyway */
  }

  document.addEventListener("visibilitychange", askNow);
  addEventListener("online", askNow);
  addEventListener("pageshow", (event) => event.persisted && askNow());
  ask();
})();
