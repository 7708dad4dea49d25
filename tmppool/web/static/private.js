// Takes a secret out of this page's URL when its form ([data-private]: the parameter's name) is submitted. The next page
// may be a notebook's, and could read the URL of this one in the tab's history (HTML, Navigation API).
addEventListener(
  "submit",
  ({ target }) => {
    "use strict";
    const name = target.dataset.private;
    if (!name) return;
    const pairs = location.search.slice(1).split("&");
    const kept = pairs.filter((pair) => !pair.startsWith(`${name}=`));
    if (kept.length === pairs.length) return;
    const query = kept.length ? `?${kept.join("&")}` : "";
    history.replaceState(history.state, "", location.pathname + query + location.hash);
  },
  { capture: true },
);
