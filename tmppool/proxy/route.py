"""The route of a request, decided before a byte of it is sent on: to a notebook, or to the service's own pages."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from tmppool.proxy import headers, page_policy
from tmppool.proxy.cookies import Jar
from tmppool.proxy.page import Notice, Page, is_html, takes_notice
from tmppool.proxy.upstream import Upstream, UpstreamConnection
from tmppool.proxy.wire import Fields, Request, Response


@dataclass(frozen=True, slots=True)
class ToApplication:
    """The service's application responds. ``extra`` is what ``request.get_extra_info`` knows in its handlers."""

    extra: Mapping[str, object] = field(default_factory=dict)


class Login(Protocol):
    """The cookies by which Jupyter knows whoever may use it, for requests that cannot carry its token."""

    @property
    def cookies(self) -> bytes | None:
        """The value of a Cookie field; None until ``fetch`` has found it."""

    async def fetch(self) -> None:
        """Find the cookies, unless they are known."""


@dataclass(frozen=True, slots=True)
class ToNotebook:
    """A notebook responds; ``unreachable`` returns where the request goes if it does not. ``is_paused``
    returns True while it cannot, since its processes stand still.

    ``target`` is what the notebook is asked for; None for the request's own target. ``identity`` holds the header lines
    by which the proxy tells the notebook who asks. ``jar`` knows which cookies the notebook has set. ``notice`` goes
    into the page that a browser asks for to show it; None for what is no such request. ``on_taken`` is called once,
    when the connection takes this route; a route that is decided and not taken is no activity. ``touch`` notes the
    activity of a program that sends data frames on this WebSocket; None if they are no activity. ``on_close`` holds
    what is called when the notebook is no longer this visitor's. ``login`` lets the request through Jupyter to an app,
    where Jupyter's token in ``identity`` does not suffice. ``is_app``: what responds is an app in the notebook, not
    Jupyter. ``is_explicit``: the request carried a token of the notebook's, so that the page that sent it may read the
    response wherever it is. ``frame_policy`` is the line that tells browsers whose pages may embed the notebook's; with
    another than usual it takes the place of the notebook's own. ``notebook_id`` is for the log.
    """

    base_path: str
    upstream: Upstream
    identity: bytes
    target: str | None = None
    jar: Jar = field(default_factory=Jar)
    notice: Notice | None = None
    is_websocket: bool = False
    on_taken: Callable[[], None] | None = None
    touch: Callable[[], None] | None = None
    on_close: set[Callable[[], None]] = field(default_factory=set)
    unreachable: Callable[[], ToApplication] = ToApplication
    is_paused: Callable[[], bool] = bool
    login: Login | None = None
    is_app: bool = False
    is_explicit: bool = False
    is_judged: bool = False
    frame_policy: bytes = headers.FRAME_POLICY
    notebook_id: str = ""

    def take(self, *, may_repeat: bool) -> UpstreamConnection | None:
        """Return an idle connection for a request that may be repeated, or None.

        It may be closed under a request, which must then be sent again (RFC 9110 section 9.2.2).
        """
        is_ready = self.login is None or self.login.cookies is not None
        return self.upstream.take() if may_repeat and is_ready else None

    async def dial(self) -> UpstreamConnection:
        """Return a new connection, once the request can be made. Raises OSError."""
        if self.login is not None:
            await self.login.fetch()
        return await self.upstream.dial()

    def request_lines(self, fields: Fields) -> bytes:
        """Return the lines to send to the notebook for a visitor's fields."""
        login = b"" if self.login is None else self.login.cookies or b""
        is_for_page = self.notice is not None
        return headers.to_notebook(
            fields, self.identity, self.jar, login, is_for_page=is_for_page, is_judged=self.is_judged
        )

    def response_lines(self, response: Response) -> list[bytes]:
        """Return the lines, without CRLF, to send to the visitor for a notebook's response."""
        passed = headers.to_visitor(response.fields, self.base_path, self.jar, is_app=self.is_app)
        if self._is_embeddable and page_policy.NAME in response.fields.first:
            passed = headers.with_policies(passed, self._policies(response))
        cross_origin = headers.READABLE_LINES if self.is_explicit else ()
        is_sniffed = self._is_sniffed(response)
        has_variants = headers.is_kept(response.fields) and is_html(response.fields, is_sniffed=is_sniffed)
        variants = (headers.VARIANTS,) if has_variants else ()
        policy = (self.frame_policy, headers.REFERRER_POLICY)
        sniffing = () if is_sniffed else (headers.NOSNIFF,)
        return [*passed, headers.cache_line(response.fields), *policy, *sniffing, *variants, *cross_origin]

    def switching_lines(self, response: Response) -> list[bytes]:
        """Return the same for the response that switches to the WebSocket protocol."""
        return headers.to_visitor(response.fields, self.base_path, self.jar)

    def page_of(self, response: Response) -> "EditedPage | None":
        """Return the page that the notice goes into, if the response is one."""
        policies = self._policies(response)
        if self.notice is None or page_policy.is_out_of_reach(policies):
            return None
        if not takes_notice(response, is_sniffed=self._is_sniffed(response)):
            return None
        admitted, nonce = page_policy.admit(policies, self.notice.host, self.notice.session_path)
        elements = self.notice.elements
        if nonce:
            elements = elements.replace(b"<script ", b'<script nonce="%b" ' % nonce)
        lines = headers.edited(self.response_lines(response), admitted, self.frame_policy)
        return EditedPage(Page(elements, response.fields), lines)

    @property
    def _is_embeddable(self) -> bool:
        return self.frame_policy != headers.FRAME_POLICY

    def _policies(self, response: Response) -> list[bytes]:
        """Return the response's own policies, without what ``frame_policy`` takes the place of."""
        policies = response.fields.values(page_policy.NAME)
        return page_policy.without_ancestors(policies) if self._is_embeddable else policies

    def _is_sniffed(self, response: Response) -> bool:
        """Return True if the browser may find out by the content what it is; Jupyter's files all come with a type."""
        first = response.fields.first
        return b"x-content-type-options" not in first and (self.is_app or b"content-type" not in first)


@dataclass(frozen=True, slots=True)
class EditedPage:
    """A page that the notice goes into, and the lines of its response's head with it."""

    page: Page
    lines: list[bytes]


Route = ToNotebook | ToApplication

Decide = Callable[[Request, str], Route]
"""Return where a request goes; the second argument is the address that it came from. Raises BadMessageError."""
