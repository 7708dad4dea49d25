// For pages with thebe 0.9, loaded after it: "run" waits until the cells have a kernel, and where their notebook has
// ended it gets another.
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
  let renewing = null;

  // sphinx-thebe says in the page's settings that cells need a kernel, where thebe 0.9 does not look for it.
  thebe.bootstrap = (options) => (starting = bootstrap({ requestKernel: true, ...options }));

  const answers = async (server) => {
    try {
      return await server.check();
    } catch {
      return true; // the network is away, which says nothing about the notebook
    }
  };

  const renew = async (notebook, server) => {
    if (!(await answers(server))) {
      const ended = server;
      server = new ended.constructor(ended.config);
      server.connectToServerViaBinder();
      await server.ready;
      ended.dispose();
    }
    const session = await server.startNewSession(notebook.rendermime);
    notebook.attachSession(session);
    Object.assign(thebe, { server, session });
  };

  const isUsable = async ({ id, kernel, server }) => {
    if (kernel?.connectionStatus === "connected" || !server.isBinder) return true;
    if (!(await answers(server))) return false;
    return kernel?.isDisposed === false && (await server.refreshRunningSessions()).some((found) => found.id === id);
  };

  const ready = async (notebook) => {
    if (!notebook.session) await starting;
    const { session } = notebook;
    if (session && !(await isUsable(session)))
      await (renewing ??= renew(notebook, session.server).finally(() => (renewing = null)));
  };

  const guard = (cell, notebook) => {
    const { execute } = cell;
    cell.execute = async (source) => {
      try {
        await ready(notebook);
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
    for (const cell of notebook.cells) guard(cell, notebook);
  });
})();
