// For pages with thebe 0.9, loaded after it: "run" waits until the cells have a kernel, and where their notebook has
// ended, or could not be had, it gets another.
(() => {
  "use strict";
  const { thebe } = window;
  if (!thebe) {
    console.warn("live-cells.js has to be loaded after thebe.");
    return;
  }
  const { bootstrap } = thebe;
  const guarded = new WeakSet();
  let starting = null;

  // sphinx-thebe says in the page's settings that cells need a kernel, where thebe 0.9 does not look for it. A second
  // start beside the first would take a second notebook.
  thebe.bootstrap = (options) =>
    (starting ??= bootstrap({ requestKernel: true, ...options }).finally(() => (starting = null)));

  // Where the settings let it start by itself, thebe would call its own function.
  const startByItself = () => {
    const settings = thebe.getPageConfig();
    if (settings.bootstrap) setTimeout(() => thebe.bootstrap(settings));
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
    ended.dispose();
    return server;
  };

  const isRunning = async ({ id, kernel, server }) =>
    kernel?.isDisposed === false && (await server.refreshRunningSessions()).some((found) => found.id === id);

  const prepare = async (notebook) => {
    if (!notebook.session) await starting?.catch(() => {}); // thebe's status has said it
    const { session } = notebook;
    let server = session?.server ?? thebe.server;
    if (session?.kernel?.connectionStatus === "connected" || !server?.isBinder) return;
    if (await hasEnded(server)) server = await renewed(server);
    else if (session && (await isRunning(session))) {
      if (session.kernel.connectionStatus === "disconnected") await session.kernel.reconnect(); // thebe has given up
      return;
    }
    const fresh = await server.startNewSession(notebook.rendermime);
    notebook.attachSession(fresh);
    Object.assign(thebe, { server, session: fresh });
  };

  const guard = (cell, ready) => {
    const { execute } = cell;
    cell.execute = async (source) => {
      try {
        await ready();
      } catch (reason) {
        console.warn(reason); // thebe's status has said it
      }
      return execute.call(cell, source);
    };
  };

  thebe.on("status", () => {
    const { notebook } = thebe;
    if (!notebook || guarded.has(notebook)) return;
    guarded.add(notebook);
    let preparing = null;
    // What runs together goes on together, in its order.
    const ready = () => (preparing ??= prepare(notebook).finally(() => (preparing = null)));
    for (const cell of notebook.cells) guard(cell, ready);
  });
})();
