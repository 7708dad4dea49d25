"""The whole service in this process, with fake notebooks, and the guests who come to it: people and programs."""

import asyncio
import contextlib
import html
import json
import re
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from blockbuster import blockbuster_ctx
from multidict import CIMultiDictProxy
from yarl import URL

from tests.proxy.stage import environment, eventually, free_ports, quiet
from tmppool.app import service
from tmppool.backends.fake import FakeBackend
from tmppool.config import Settings
from tmppool.keys import id_of
from tmppool.ledger import Ledger
from tmppool.notebook import Notebook
from tmppool.pools import Pools
from tmppool.web.api import Api
from tmppool.web.enter import Entrance
from tmppool.web.own_cookies import Scope, notebook_name

__all__ = ["Answer", "Guest", "Place", "eventually", "opened"]

PATIENCE = 30.0  # seconds until what hangs is a failure
PERSON = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "none"}
KEY_OF = re.compile(r"^(?:http://[^/]+)?/user/([A-Za-z0-9_.-]{22,})(?:[/?]|$)")
OF_NOTEBOOK = re.compile(r"^/(?:user|api/session)/([A-Za-z0-9_.-]{22,})")
FOR_OWNERS = re.compile(r"^DELETE /api/session/|^POST /api/session/[^/]+/share")
MODES = ({}, {"domain_per_notebook": "nb.localhost:{port}"})
"""Settings: all notebooks at one host, and each at a host of its own."""


@dataclass
class Answer:
    status: int
    headers: CIMultiDictProxy[str]
    body: bytes
    url: str = ""

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def location(self) -> str:
        return self.headers["Location"]

    @property
    def key(self) -> str:
        """The key of the notebook that this leads to."""
        found = KEY_OF.match(self.location)
        assert found is not None, self.location
        return found[1]

    @property
    def title(self) -> str:
        found = re.search(r"<title>(.*?)</title>", self.text, re.DOTALL)
        return html.unescape(found[1]) if found else ""

    def form(self) -> dict[str, str]:
        """The page's one form: its action and its hidden fields."""
        forms = re.findall(r"<form[^>]*>.*?</form>", self.text, re.DOTALL)
        assert len(forms) == 1, f"{self.status}: {len(forms)} forms"
        assert 'method="post"' in forms[0]
        fields = dict(re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)"', forms[0]))
        action = re.search(r'action="([^"]*)"', forms[0])
        assert action is not None
        return {"action": html.unescape(action[1]), **{name: html.unescape(value) for name, value in fields.items()}}


class Everywhere(AbstractResolver):
    """Finds every name on this machine."""

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        del family
        return [ResolveResult(hostname=host, host="127.0.0.1", port=port, family=socket.AF_INET, proto=0, flags=0)]

    async def close(self) -> None:
        """Nothing is held."""


class Guest:
    """One browser, or one program: cookies are kept, redirects are not followed."""

    def __init__(
        self,
        url: str,
        headers: dict[str, str],
        tokens: dict[str, str] | None = None,
        domain: str | None = None,
        connections: int = 4,
    ) -> None:
        self.url = url
        self.domain = domain
        self.headers = headers
        self.tokens = tokens
        # Every name leads here, as those below localhost do in a browser.
        connector = aiohttp.TCPConnector(limit=connections, resolver=Everywhere())
        self.session = aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True), connector=connector)
        for key in self.tokens or ():
            self._hold(key)

    def _hold(self, key: str) -> None:
        """Have the cookie of that notebook, as whoever started it."""
        assert self.tokens is not None
        cookie = {notebook_name(key, is_secure=is_secure): self.tokens[key] for is_secure in (False, True)}
        for url in (self.whole(f"/user/{key}/"), self.url):
            self.session.cookie_jar.update_cookies(cookie, URL(url).with_path("/"))

    def whole(self, path: str, method: str = "GET") -> str:
        """Return the whole URL for a path: a notebook's own are at its host, but for what its owner alone may do."""
        found = OF_NOTEBOOK.match(path) if not FOR_OWNERS.match(f"{method} {path}") else None
        if self.domain is not None and found is not None:
            return f"http://{id_of(found[1])}.{self.domain}{path}"
        return path if path.startswith("http") else self.url + path

    async def ask(self, method: str, path: str, headers: dict[str, str] | None = None, **more: Any) -> Answer:
        async with (
            asyncio.timeout(PATIENCE),
            self.session.request(
                method,
                URL(self.whole(path, method), encoded=True),
                headers=self.headers | (headers or {}),
                allow_redirects=False,
                **more,
            ) as reply,
        ):
            answer = Answer(reply.status, reply.headers, await reply.read(), self.whole(path, method))
        if self.tokens is not None and path.startswith("/api/spawn") and answer.status == 200 and method == "POST":
            key = answer.json["url"].rstrip("/").rpartition("/")[2]
            self.tokens[key] = answer.json["token"]
            self._hold(key)
        return answer

    async def get(self, path: str, **headers: str) -> Answer:
        return await self.ask("GET", path, {name.replace("_", "-"): value for name, value in headers.items()})

    async def post(self, path: str, data: Any = None, **headers: str) -> Answer:
        return await self.ask(
            "POST", path, {name.replace("_", "-"): value for name, value in headers.items()}, data=data
        )

    async def press(self, page: Answer, **headers: str) -> Answer:
        """Press the button of a launch page."""
        fields = page.form()
        return await self.post(fields.pop("action"), fields, **{"Sec_Fetch_Site": "same-origin", **headers})

    async def follow(self, answer: Answer, **headers: str) -> tuple[str, Answer]:
        """Go where the answer leads, as a browser does; returns the address in its bar, and what it shows."""
        address = ""
        for _ in range(5):
            if answer.status not in (302, 303):
                break
            address = str(URL(answer.url, encoded=True).join(URL(answer.location, encoded=True)))
            answer = await self.get(address, **headers)
        return address, answer

    async def start(self, path: str = "/") -> str:
        """Start a notebook by a click and go to it; returns its key."""
        sent_on = await self.click(path)
        _, page = await self.follow(sent_on)
        assert page.status == 200, page.text
        return sent_on.key

    async def look(self, path: str = "/", **headers: str) -> Answer:
        """Follow a launch link to its page, whose URL has no workshop code."""
        answer = await self.get(path, **headers)
        is_on_the_way = answer.status == 303 and "/user/" not in answer.location
        return await self.get(answer.location, **headers) if is_on_the_way else answer

    async def click(self, path: str = "/", **headers: str) -> Answer:
        """Follow a launch link and press the button."""
        return await self.press(await self.look(path, **headers), **headers)

    async def claim(self, link: str, **headers: str) -> Answer:
        """Open a program's link, and press the button if there is one."""
        _, page = await self.follow(await self.get(link, **headers), **headers)
        return await self.press(page, **headers) if page.status == 200 and "<form" in page.text else page

    def cookies(self) -> dict[str, str]:
        return {cookie.key: cookie.value for cookie in self.session.cookie_jar}


@dataclass
class Place:
    """The service and what it runs. ``backends`` are those of its pools, the default one first."""

    url: str
    admin_url: str
    backends: list[FakeBackend]
    entrances: list[Entrance]
    tables: list[tuple[Pools, Ledger]]
    guests: list[Guest] = field(default_factory=list)
    tokens: dict[str, str] = field(default_factory=dict)
    domain: str | None = None
    secret: str = ""
    operator_token: str = ""
    state: Path = field(kw_only=True)

    @property
    def backend(self) -> FakeBackend:
        return self.backends[0]

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def cookie(self) -> str:
        """The name of the visitor's cookie over plain HTTP."""
        return Scope(is_secure=False, port=self.port).visitor

    @property
    def pools(self) -> Pools:
        return self.tables[0][0]

    @property
    def ledger(self) -> Ledger:
        return self.tables[0][1]

    def held(self, key: str) -> Notebook:
        """The notebook, as the service has it."""
        found = self.pools.find(key)
        assert found is not None
        return found[1]

    def origin(self, key: str) -> str:
        """Where a notebook's pages are."""
        return self.url if self.domain is None else f"http://{id_of(key)}.{self.domain}"

    def person(self, **headers: str) -> Guest:
        return self._guest(self.url, PERSON | {name.replace("_", "-"): value for name, value in headers.items()})

    def program(self, **headers: str) -> Guest:
        """A program that holds whatever a program took here."""
        return self._guest(self.url, {name.replace("_", "-"): value for name, value in headers.items()}, self.tokens)

    def owner(self) -> Guest:
        """A person who holds whatever a program took here."""
        return self._guest(self.url, PERSON, self.tokens)

    def stranger(self, **headers: str) -> Guest:
        """A program that holds nothing."""
        return self._guest(self.url, {name.replace("_", "-"): value for name, value in headers.items()})

    def operator(self, **headers: str) -> Guest:
        """Whoever can read the state directory, where the operator chose no token."""
        known = {"Authorization": f"token {self.operator_token}"} if self.operator_token else {}
        return self._guest(self.admin_url, known | headers)

    def insider(self, **headers: str) -> Guest:
        """A program of whoever started the service, where notebooks are processes."""
        return self.program(Authorization=f"token {self.secret}", **headers) if self.secret else self.program(**headers)

    async def stats(self) -> dict[str, Any]:
        return dict((await self.insider().get("/api/stats")).json)

    async def until(self, **counts: int) -> dict[str, Any]:
        """Return the stats once they are as wanted."""
        program, found = self.insider(), {}
        async with asyncio.timeout(PATIENCE):
            while not counts.items() <= (found := (await program.get("/api/stats")).json).items():
                await asyncio.sleep(0.005)
        return dict(found)

    def asked(self, key: str) -> list[str]:
        """What a notebook was asked, without its base path."""
        return [line.replace(f"/user/{key}/", "") for line in self.notebook(key).requests]

    def notebook(self, key: str) -> Any:
        return next(backend.notebooks[key] for backend in self.backends if key in backend.notebooks)

    def _guest(self, url: str, headers: dict[str, str], tokens: dict[str, str] | None = None) -> Guest:
        self.guests.append(Guest(url, headers, tokens, self.domain))
        return self.guests[-1]


Made = tuple[list[FakeBackend], list[Entrance], list[tuple[Pools, Ledger]]]


def _watch_what_is_made(monkeypatch: pytest.MonkeyPatch, fake: dict[str, Any]) -> Made:
    """Return the lists to which the service adds what it builds: its backends, its entrance, its pools and ledger."""
    backends: list[FakeBackend] = []

    def make(spec: Any) -> FakeBackend:
        backends.append(FakeBackend(spec))
        for name, value in fake.items():
            setattr(backends[-1], name, value)
        return backends[-1]

    monkeypatch.setattr("tmppool.backends.BackendKind.make", lambda _kind, spec, _paths: make(spec))
    monkeypatch.setattr("tmppool.web.pages.Environment", environment)
    entrances: list[Entrance] = []
    tables: list[tuple[Pools, Ledger]] = []

    def make_entrance(*parts: Any) -> Entrance:
        entrances.append(Entrance(*parts))
        return entrances[-1]

    def make_api(pools: Pools, ledger: Ledger, *parts: Any, **more: Any) -> Api:
        tables.append((pools, ledger))
        return Api(pools, ledger, *parts, **more)

    monkeypatch.setattr("tmppool.app.Entrance", make_entrance)
    monkeypatch.setattr("tmppool.app.Api", make_api)
    return backends, entrances, tables


@contextlib.asynccontextmanager
async def opened(
    state: Path, monkeypatch: pytest.MonkeyPatch, *, fake: dict[str, Any] | None = None, **settings: Any
) -> AsyncIterator[Place]:
    """Open the service and wait until its first pool is warm, unless ``fake`` says what its backends are to be like.

    With ``backend="process"`` it is open as with processes, and its notebooks are fakes all the same.
    """
    made = _watch_what_is_made(monkeypatch, fake or {})
    port, admin_port = free_ports(2)
    known: dict[str, Any] = {
        "pool_size": 4,
        "parallel_starts": 50,
        "notebooks_per_address": 0,
        "state_dir": state,
        "cull_period": 3600,
        "on_exit": "stop",
        "backend": "fake",
        "allow_root": True,
    }
    domain = settings.pop("domain_per_notebook", None)
    domain = domain.format(port=port) if domain else None
    given = Settings(port=port, admin_port=admin_port, domain_per_notebook=domain, **(known | settings))
    async with service(given) as link:
        domain = domain if domain and domain.endswith(f":{port}") else None  # else it is not reached by its names
        url = f"http://{domain}" if domain else f"http://127.0.0.1:{port}"
        place = Place(url, f"http://127.0.0.1:{admin_port}", *made, domain=domain, state=state)
        place.secret = link.partition("?token=")[2]
        kept = state / "admin-token"
        place.operator_token = kept.read_text().strip() if kept.exists() and given.admin_auth_token is None else ""
        with blockbuster_ctx("tmppool"):
            if fake is None:
                await place.until(warm=given.warm_target)
            yield place
            for guest in place.guests:
                await guest.session.close()
        for backend in place.backends:
            backend.is_ill = False
    for backend in place.backends:
        await backend.end_all()
    await quiet()
