"""A notebook whose pages are apps that their makers did not write for us: ``python apps.py BASE_PATH PORT``."""

import asyncio
import gzip
import sys

from aiohttp import WSMsgType, web

HEAD = "<!doctype html><html><head><meta charset=utf-8><title>App</title></head><body>"

SLIDER = (
    HEAD
    + """<input type=range id=slider min=0 max=1000 style="width:300px"><output id=value></output><script>
const socket = new WebSocket(location.href.replace("http", "ws").replace(/[^/]*$/, "socket"));
socket.onmessage = (event) => { value.textContent = event.data; };
slider.oninput = () => socket.send(slider.value);
</script>"""
)

POLLING = (
    HEAD
    + """<div id=log style="height:80px;overflow:auto"></div><iframe src="poll"></iframe>
<textarea id=text></textarea><label id=label><input type=checkbox></label><script>
const socket = new WebSocket(location.href.replace("http", "ws").replace(/[^/]*$/, "socket"));
setInterval(() => {
  fetch("poll", { method: "POST", body: "x" });
  if (socket.readyState === 1) socket.send("poll");
  log.append(document.createElement("p"), "more");
  log.scrollTop = log.scrollHeight; // its scroll events are trusted
  document.body.click();
  label.click(); // the checkbox gets a trusted click
  text.focus();
  document.execCommand("insertText", false, "x"); // a trusted input event
  dispatchEvent(new KeyboardEvent("keydown", { key: "a", bubbles: true }));
}, 300);
</script>"""
)

TEXT = HEAD + "<p>word</p>" * 2000
OUTER = HEAD + '<iframe src="slider" width=400 height=200></iframe>'
INLINE = HEAD + '<iframe srcdoc="<textarea id=t></textarea>" width=400 height=200></iframe>'
STRICT = "<!doctype html><html><head><title>App</title></head><body><h1 id=h>strict</h1>"
POLICY = "default-src 'none'; style-src 'self'"

WAITING = TEXT + "<script src=never></script><p>The rest</p>"
GREEDY = (
    HEAD.replace("<body>", "<script>")
    + """
for (const kind of ["pointerdown", "pointermove", "mousemove", "click", "keydown", "wheel", "beforeinput"])
  addEventListener(kind, (event) => event.stopImmediatePropagation(), true);
window.fetch = () => Promise.reject(new Error("all that this app needs is here"));
EventTarget.prototype.addEventListener = () => {};
Date.now = () => 0;
setInterval(() => { for (let timer = 1; timer < 1000; timer += 1) clearTimeout(timer); }, 1000);
</script></head><body>"""
)
FOREIGN = HEAD.replace("<title>", "<base href='http://elsewhere.invalid/x/'><title>")

FRAME = "<iframe srcdoc='<textarea></textarea>' width=400 height=200></iframe>"
SHADOW = (
    HEAD
    + f"""<div id=place></div><script>setTimeout(() => {{
  place.attachShadow({{ mode: "closed" }}).innerHTML = `<div id=inner></div>`;
  const inner = document.createElement("div");
  document.body.prepend(inner);
  inner.attachShadow({{ mode: "closed" }}).innerHTML = `{FRAME}`;
}}, 1000);</script>"""
)
DECLARED = (
    HEAD
    + f"""<div><template shadowrootmode=open><p><b><template shadowrootmode=open>{FRAME}</template></b></p></template></div>"""
)
REWRITTEN = (
    HEAD
    + """<script>setTimeout(() => {
  document.open();
  document.write("<!doctype html><body><textarea></textarea>");
}, 1000);</script>"""
)
WRITTEN = (
    HEAD
    + """<iframe id=frame width=400 height=200></iframe><script>setTimeout(() => {
  frame.contentDocument.open();
  frame.contentDocument.write("<textarea></textarea>");
}, 1000);</script>"""
)
POPUP = (
    HEAD
    + """<button id=button style="width:300px;height:100px">Open</button><script>
button.onclick = () => {
  const view = open(%s);
  setTimeout(() => { %s }, 1000);
};</script>"""
)

COPIED = (
    HEAD
    + """<textarea></textarea><script>if (window === top) setTimeout(() => {
  const frame = document.createElement("iframe");
  frame.style = "position:fixed;left:0;top:0;width:400px;height:300px";
  frame.srcdoc = document.documentElement.outerHTML;
  document.body.replaceChildren(frame);
}, 1000);</script>"""
)
PRINTED = (
    HEAD
    + """<button style="width:300px;height:100px">Print</button><script>if (!opener) onclick = () => {
  const view = open("", "", "width=500,height=400");
  view.document.write(document.documentElement.outerHTML);
  view.document.close();
};</script>"""
)
BOXED = HEAD + '<iframe sandbox="allow-same-origin" src=text width=400 height=300></iframe>'
INSERTED = (
    HEAD
    + f"""<div id=place></div><script>setTimeout(() => place.setHTMLUnsafe(
`<div><template shadowrootmode=open>{FRAME}</template></div>`), 1000);</script>"""
)
NESTED = (
    HEAD
    + """<iframe width=400 height=300 srcdoc="<button style='width:300px;height:200px'>Open</button><script>
onclick = () => open('', '', 'width=500,height=400').document.write('<textarea></textarea>');</script>"></iframe>"""
)
FIRST = (
    "<!doctype html><html><head><script data-own=own>window.seen = document.scripts[0].dataset.own;</script></head>"
    '<body><a id=save href=text download>save</a> <a id=alt href="text?alt">save too</a>'
)

COVERED = {
    "frameset": "<!doctype html><html><head><title>App</title></head><frameset cols=*><frame src=text></frameset></html>",
    "modal": HEAD
    + "<dialog style='width:90vw;height:90vh'>All of it</dialog><script>document.querySelector('dialog').showModal()</script>",
    "moved": HEAD.replace("<body>", "<body style='transform:translateY(-150vh);height:50vh'>") + "<p>up",
    "fullscreen": HEAD
    + "<div id=all style='background:#fff'>All of it</div><script>onclick = () => all.requestFullscreen()</script>",
}
"""Pages whose own things would hide a notice."""
UNTYPED = HEAD + "<link rel=stylesheet href=untyped.css><script src=untyped.js></script><p id=text></p>"

PAGES = {
    **COVERED,
    "untyped": UNTYPED,
    "untyped.js": "var isHere = true;",
    "untyped.css": "p { color: rgb(1, 2, 3); }",
    "shadow": SHADOW,
    "declared": DECLARED,
    "rewritten": REWRITTEN,
    "written": WRITTEN,
    "blank": POPUP % ("'', '', 'width=500,height=400'", "view.document.write('<textarea></textarea>')"),
    "blob": POPUP % ("URL.createObjectURL(new Blob(['<textarea></textarea>'], { type: 'text/html' }))", ""),
    "copied": COPIED,
    "printed": PRINTED,
    "boxed": BOXED,
    "inserted": INSERTED,
    "nested": NESTED,
    "first": FIRST,
    "slider": SLIDER,
    "polling": POLLING,
    "text": TEXT,
    "outer": OUTER,
    "inline": INLINE,
    "strict": STRICT,
    "waiting": WAITING,
    "greedy": GREEDY,
    "foreign": FOREIGN,
}


async def stream(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/html"})
    await response.prepare(request)
    await response.write(HEAD.encode())
    while True:
        await response.write(b"<p>more</p>")
        await asyncio.sleep(1)


async def never(_request: web.Request) -> web.Response:
    await asyncio.sleep(3600)
    return web.Response()


async def page(request: web.Request) -> web.StreamResponse:
    name = request.match_info["name"]
    text = PAGES.get(name, HEAD).encode()
    headers = {"Content-Type": "" if name.startswith("untyped") else "text/html"}
    if name == "strict":
        headers["Content-Security-Policy"] = POLICY
    if name == "slider":  # whatever was asked for
        headers["Content-Encoding"] = "gzip"
        text = gzip.compress(text)
    return web.Response(body=text, headers=headers)


async def talk(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            await socket.send_str(message.data)
    return socket


async def poll(_request: web.Request) -> web.Response:
    return web.json_response({})


def main(base_path: str, port: int) -> None:
    app = web.Application()
    app.router.add_get(f"{base_path}socket", talk)
    app.router.add_post(f"{base_path}poll", poll)
    app.router.add_get(f"{base_path}endless", stream)
    app.router.add_get(f"{base_path}never", never)
    app.router.add_get(f"{base_path}api/{{rest:.*}}", poll)
    app.router.add_get(f"{base_path}api", poll)
    app.router.add_get(f"{base_path}{{name:.*}}", page)
    web.run_app(app, host="127.0.0.1", port=port, print=None)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
