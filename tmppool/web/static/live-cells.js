// For pages with thebe 0.9, loaded after it: "run" waits until the cells have a kernel, and where their notebook has
// ended, or could not be had, it gets another. Pages that are open beside each other get one together. What goes wrong
// stands in thebe's status.
(() => {
  "use strict";
  const { thebe, thebeCore } = window;
  if (!thebeCore) {
    console.warn("live-cells.js has to be loaded after thebe 0.9.");
    return;
  }
  const { bootstrap } = thebe;
  const guarded = new WeakSet();
  let starting = null;
  let last = Promise.resolve();

  const tell = (message) => thebe.trigger("status", { subject: "server", status: "error", message });

  // thebe's own status hears of no error: it would say "Launching" for ever.
  thebe.on("error", (_, { subject, status, message }) => {
    if (subject === "server" && status === "error") tell(message);
  });

  // What may take a notebook waits for what did so before it, and finds what that has got. Where the settings ask for
  // no kernel, thebe's own function ends before there is a notebook.
  const inTurn = (ask) => {
    const turn = last.then(ask, ask);
    last = turn.then((made) => made?.server.ready).catch((reason) => tell(String(reason?.message ?? reason)));
    return turn;
  };

  // Pages of one site ask in turn: thebe saves what one of them gets, where the next one finds it.
  const { prototype } = thebeCore.module.ThebeServer;
  const { checkForSavedBinderSession, connectToServerViaBinder } = prototype;
  prototype.connectToServerViaBinder = async function (...given) {
    const held = async () => {
      await connectToServerViaBinder.apply(this, given);
      if (this.isBinder) await this.ready.catch(() => {}); // else its settings name nobody to ask
    };
    const { binder, savedSessions } = this.config;
    if (!navigator.locks || !savedSessions.enabled) return held(); // plain HTTP, or nothing is saved
    const message = "Waiting for another page of this site, which is getting a notebook already…";
    thebe.trigger("status", { subject: "server", status: "launching", message });
    return navigator.locks.request(`tmppool ${JSON.stringify(binder)}`, held).catch(held); // not allowed
  };

  // thebe forgets a notebook that does not answer. Where none is had instead, the service may only have been away.
  prototype.checkForSavedBinderSession = async function () {
    const { storageKey } = this.binderUrls;
    const saved = localStorage.getItem(storageKey);
    const found = await checkForSavedBinderSession.call(this);
    if (saved && !found) this.ready.catch(() => localStorage.setItem(storageKey, saved));
    return found;
  };

  // sphinx-thebe says in the page's settings that cells need a kernel, where thebe 0.9 does not look for it. A second
  // start beside the first is the first.
  thebe.bootstrap = (options) =>
    (starting ??= inTurn(() => bootstrap({ requestKernel: true, ...options })).finally(() => (starting = null)));

  // Not while prerendering, and not in a hidden tab.
  const whenSeen = (then) => {
    const changes = ["prerenderingchange", "visibilitychange"];
    const check = () => {
      if (document.prerendering || document.visibilityState === "hidden") return;
      for (const change of changes) document.removeEventListener(change, check);
      then();
    };
    for (const change of changes) document.addEventListener(change, check);
    check();
  };

  // Where the settings let it start by itself, thebe would call its own function, whether or not anybody is there.
  const startByItself = () => {
    const settings = thebe.getPageConfig();
    if (settings.bootstrap) setTimeout(() => whenSeen(() => thebe.bootstrap(settings)));
    settings.bootstrap = false;
  };
  addEventListener("DOMContentLoaded", startByItself, { capture: true });

  const hasEnded = async ({ settings }) => {
    if (!settings) return true; // it never began
    const headers = { Authorization: `token ${settings.token}` };
    try {
      const { status } = await fetch(`${settings.baseUrl}api/status`, { headers, cache: "no-store" });
      return status >= 400 && status < 500 && status !== 429; // others say that it is busy, paused or out of reach
    } catch {
      return false; // the network is away, which says nothing about the notebook
    }
  };

  const renewed = async (ended) => {
    const server = new ended.constructor(ended.config);
    server.connectToServerViaBinder();
    await server.ready;
    return server;
  };

  // The page may have got another notebook since these cells got theirs.
  const usable = async (own) => {
    if (!(await hasEnded(own))) return own;
    const newest = thebe.server ?? own;
    return newest === own || (await hasEnded(newest)) ? renewed(own) : newest;
  };

  const isConnected = ({ session }) => session?.kernel?.connectionStatus === "connected";

  const isRunning = async ({ id, kernel, server }) =>
    kernel?.isDisposed === false && (await server.refreshRunningSessions()).some((found) => found.id === id);

  const prepare = async (notebook) => {
    const { session } = notebook;
    const own = session?.server ?? thebe.server;
    if (isConnected(notebook) || !own?.isBinder) return;
    const server = await usable(own);
    if (server === session?.server && (await isRunning(session))) {
      if (session.kernel.connectionStatus === "disconnected") await session.kernel.reconnect(); // thebe has given up
      return;
    }
    if (server !== own) own.dispose();
    thebe.server = server; // to be found again, whatever becomes of the kernel
    thebe.session = await server.startNewSession(notebook.rendermime, own.config.kernels);
    notebook.attachSession(thebe.session);
  };

  const guard = (cell, ready) => {
    const { execute } = cell;
    cell.execute = async (source) => {
      await ready();
      return execute.call(cell, source);
    };
  };

  thebe.on("status", () => {
    const { notebook } = thebe;
    if (!notebook || guarded.has(notebook)) return;
    guarded.add(notebook);
    let preparing = null;
    // What runs together goes on together, in its order.
    const ready = async () => {
      if (!preparing && isConnected(notebook)) return;
      preparing ??= inTurn(() => prepare(notebook)).finally(() => (preparing = null));
      await preparing.catch(console.warn); // the status has said it
    };
    for (const cell of notebook.cells) guard(cell, ready);
  });
})();
