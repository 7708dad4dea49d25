"""The composition root: builds every object from its slice of the settings, opens all of them in order and closes
them in reverse. Only it, ``backend_choice``, ``from_settings`` and the command line read the settings.
"""

import asyncio
import contextlib
import errno
import functools
import secrets
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import platformdirs
import structlog
import uvloop

from tmppool import backend_choice, build_image, from_settings, log, recipes, recovery, state_dir, timers
from tmppool.audit import startup
from tmppool.backends import BACKENDS, BackendKind, engine, image_home
from tmppool.backends.base import Backend, Paths, Traits
from tmppool.backends.container import LANDING_LABEL, READY_LABEL, SERVICE_LABEL
from tmppool.backends.ownership import Owner, this_process
from tmppool.clocks import AwakeClock
from tmppool.config import Settings
from tmppool.document_index import DocumentIndex
from tmppool.errors import ConfigError
from tmppool.image_documents import Document, beneath
from tmppool.leaving import Leaving
from tmppool.ledger import Ledger
from tmppool.metrics import Metrics
from tmppool.notebook import State
from tmppool.pool import Pool
from tmppool.pool_settings import DEFAULT_IMAGE, PoolSettings
from tmppool.pools import Pools
from tmppool.proxy.forwarded import networks
from tmppool.proxy.timeouts import Timeouts
from tmppool.reconcile import Reconciler
from tmppool.sessions import Sessions
from tmppool.tasks import spawn
from tmppool.web import hosts, listener, repositories, routes
from tmppool.web.admin import Admin
from tmppool.web.answers import Answers
from tmppool.web.api import Api
from tmppool.web.build import Build
from tmppool.web.claim import Claim
from tmppool.web.edge import Edge, admin_decide
from tmppool.web.embed_page import EmbedPage
from tmppool.web.embedding import Embedding
from tmppool.web.enter import HANDOFF_LIFETIME, Entrance
from tmppool.web.home import Home
from tmppool.web.judge import Rules
from tmppool.web.launch import Launch
from tmppool.web.links import Landing
from tmppool.web.lock import Lock
from tmppool.web.pages import Pages
from tmppool.web.peer_redirects import PeerRedirects
from tmppool.web.preview import Preview
from tmppool.web.refusals import Refusals
from tmppool.web.repositories import Repositories, Row
from tmppool.web.session import Session
from tmppool.web.start_limits import HoldingLimit, StartLimits
from tmppool.web.tickets import Tickets
from tmppool.web.visit import PublicAddress

_RECONCILE = 30.0  # seconds between two comparisons with what the backend runs
_PULSE = 1.5  # seconds between two questions to the backend; with its patience, an illness is known within 5
_KNOCK = 15.0  # seconds between two questions to each warm notebook
_PRUNE = 3600.0  # seconds between two prunings of the ledger
_OWN = 3.0  # seconds between two checks that this service still owns its name
_KEEP = 2.0  # seconds between two checks that the ledger is still in its file, and both in their directory
_ADDRESS_ERRORS = (  # errors of a bind that another port would not avoid
    errno.EADDRNOTAVAIL, socket.EAI_NONAME, socket.EAI_AGAIN, socket.EAI_FAIL, socket.EAI_ADDRFAMILY, socket.EAI_NODATA,
)  # fmt: skip

_TRUSTS_ALL = (
    "any visitor can claim any address, and no limit by address holds; name the addresses of the proxies in front"
)
_COVERS_NOTEBOOKS = (
    "covers the notebooks' own host names: a page in one may start others, and show them in frames; list each site"
    " instead"
)

_log = structlog.get_logger("tmppool")


def run(settings: Settings) -> int:
    """Serve until SIGTERM, Ctrl-C or the terminal's end; returns the exit status.

    Raises TmppoolError if the service cannot start.
    """
    as_json = {"auto": None, "json": True, "console": False}[settings.log_format]
    log.configure(level=settings.log_level, json=as_json)
    listener.raise_descriptors()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(settings))


async def _serve(settings: Settings) -> int:
    stopping, is_open = asyncio.Event(), False
    loop, opening = asyncio.get_running_loop(), asyncio.current_task()
    assert opening is not None

    leaving = Leaving()

    def stop() -> None:
        if stopping.is_set():
            leaving.hurry.set()
        elif not is_open:  # once: a second signal must not interrupt the clean-up
            opening.cancel()
        stopping.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # nohup(1) ignores it
            loop.add_signal_handler(number, stop)
    try:
        async with service(settings, leaving=leaving) as url:
            is_open = True
            sys.stdout.write(f"{url}\n")
            sys.stdout.flush()
            await stopping.wait()
            _log.info("service.stop_requested")
    except asyncio.CancelledError:
        _log.info("service.stopped", message="before it was open")
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):  # all is done: another signal must not turn this into a failure
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)
    leaving.check(settings.pool_name)
    return 0


@contextlib.asynccontextmanager
async def service(
    settings: Settings,
    timeouts: Timeouts = Timeouts(),  # noqa: B008 - frozen
    leaving: Leaving | None = None,
) -> AsyncIterator[str]:
    """Open everything, yield the URL of the public listener, close everything in reverse.

    The user opens this URL. If notebooks are for them alone, it contains the secret, unless they set it themselves.
    ``leaving`` tells afterwards what could not be stopped.
    """
    leaving = leaving or Leaving()
    async with contextlib.AsyncExitStack() as stack:
        _check(settings)
        state = settings.state_dir or platformdirs.user_state_path("tmppool") / settings.pool_name
        holding = await stack.enter_async_context(state_dir.held(state, settings.pool_name))
        kind = BACKENDS[await backend_choice.backend_kind(settings, state / "ledger.sqlite")]
        ip = from_settings.public_ip(settings, kind)
        sockets = _bind(stack, settings, ip)
        owner = None
        if kind.on_engine:
            await backend_choice.end_processes(state)
            await _have_image(settings)
            owner = await _own(stack, settings, state, leaving)
        ledger = await Ledger.open(state / "ledger.sqlite", holding)
        stack.push_async_callback(ledger.close)
        pools = Pools()
        metrics = Metrics(lambda: pools)
        made_token = secrets.token_urlsafe(24) if kind.is_local_only and settings.api_auth_token is None else None
        parts = _Parts(
            settings, kind, state, holding, ledger, _clock(stack, ledger), pools, metrics, timeouts, made_token
        )
        traits = {}
        for name, wanted in from_settings.wanted_pools(settings).items():
            backend, traits[name] = await _open_backend(stack, parts, name, wanted)
            pools.add(_pool(parts, name, wanted, backend, traits[name]))
        stack.push_async_callback(_close, parts, owner, leaving)
        reconcilers = [_watch(stack, pool, pools, ledger) for pool in pools]
        await startup.prove(pools, settings.accept_risk, (settings.port, settings.admin_port))
        await recovery.adopt(pools, ledger)
        await ledger.note_backend(kind.name)
        await _listen(stack, parts, traits, sockets)
        _keep_time(stack, parts, reconcilers, owner)
        url = from_settings.url(settings, kind, ip)
        on_exit = from_settings.on_exit(settings, kind)
        _log.info("service.opened", url=url, backend=kind.name, capacity=pools.default.limits.capacity, on_exit=on_exit)
        yield f"{url}/?token={parts.made_token}" if parts.made_token else f"{url}/"


def _check(settings: Settings) -> None:
    """Raise ConfigError for settings that are not allowed; warn of those that give up a protection."""
    backend_choice.check(settings)
    from_settings.check_admin(settings)
    from_settings.check_landings(settings)
    for row in settings.repositories:
        if why := repositories.unmatched(row.name):
            raise ConfigError(f"repositories: no link matches {row.name!r}: {why}")
    for network in from_settings.boundless_proxies(settings):
        _log.warning("settings.warned", message=f"--trusted-proxies: {network} holds everybody: {_TRUSTS_ALL}")
    if settings.domain_per_notebook is not None:
        for pattern in Embedding(settings.embed_origins).covering(hosts.host_of("id", settings.domain_per_notebook)):
            _log.warning("settings.warned", message=f"--embed-origins: {pattern} {_COVERS_NOTEBOOKS}")
    startup.check_risks(settings.accept_risk)


@dataclass(frozen=True, slots=True)
class _Parts:
    """The objects that pools and listeners share, one of each.

    ``kind`` is the kind of backend. ``made_token`` is the generated secret, if notebooks are for the user alone and
    they set none.
    """

    settings: Settings
    kind: BackendKind
    state: Path
    holding: state_dir.Held
    ledger: Ledger
    clock: AwakeClock
    pools: Pools
    metrics: Metrics
    timeouts: Timeouts
    made_token: str | None


# Backends


async def _have_image(settings: Settings) -> None:
    """Build the default image if the engine lacks it; the operator provides any other."""
    if settings.image != DEFAULT_IMAGE or await engine.has_image(DEFAULT_IMAGE):
        return
    _log.info("image.build_started", image=DEFAULT_IMAGE, message="once, a few minutes")
    await build_image.build("debian", recipes.BuildOptions())


async def _own(stack: contextlib.AsyncExitStack, settings: Settings, state: Path, leaving: Leaving) -> Owner:
    me = await asyncio.to_thread(this_process, state)
    which = f"label={SERVICE_LABEL}={settings.pool_name}"
    leaving.hint = f"when the engine answers, `docker rm -f $(docker ps -aq --filter {which})` removes what is left"
    owner = Owner(settings.pool_name, settings.image, me, lambda: signal.raise_signal(signal.SIGTERM))
    stack.push_async_callback(leaving.clean_up, owner.close)
    await owner.take()
    stack.push_async_callback(leaving.clean_up, functools.partial(_clear, owner, settings.pool_name))
    return owner


async def _clear(owner: Owner, service: str) -> None:
    """Remove the volumes of images that nothing uses any more, however the service ends."""
    if not owner.is_lost:
        await image_home.clear(service)


async def _open_backend(
    stack: contextlib.AsyncExitStack, parts: _Parts, name: str, wanted: PoolSettings
) -> tuple[Backend, Traits]:
    images = await asyncio.to_thread(recipes.images_dir)
    paths = Paths(parts.state, images / "debian" / "home", images / recipes.COMMON)
    backend = parts.kind.make(from_settings.spec(parts.settings.pool_name, name, wanted), paths)
    stack.push_async_callback(backend.close)
    traits = await backend.open()
    from_settings.check_landing(f"the {LANDING_LABEL} label of {wanted.image}", traits.edition.landing)
    from_settings.check_knock(f"the {READY_LABEL} label of {wanted.image}", traits.edition.image.knock)
    for note in traits.notes:
        _log.warning("backend.warned", pool=name, message=note)
    return backend, traits


# Pools


def _pool(parts: _Parts, name: str, wanted: PoolSettings, backend: Backend, traits: Traits) -> Pool:
    listeners = (parts.pools.hear, parts.ledger.hear, parts.metrics.hear, log.hear)
    limits, key_bytes = from_settings.limits(wanted), parts.settings.key_bytes
    pool = Pool(
        name, backend, [traits.edition], limits, listeners, parts.clock, key_bytes,
        incident_listeners=[log.hear_incident],
    )  # fmt: skip
    progress = log.Progress()
    pool.listen(lambda fact: progress.hear(fact, pool.count(State.WARM), pool.limits.warm))
    return pool


def _clock(stack: contextlib.AsyncExitStack, ledger: Ledger) -> AwakeClock:
    """Return the pools' clock, which goes until the service ends."""
    clock = AwakeClock()
    running = spawn(clock.run(ledger.postpone), "the pools' clock")
    stack.callback(running.cancel)
    return clock


def _watch(stack: contextlib.AsyncExitStack, pool: Pool, pools: Pools, ledger: Ledger) -> Reconciler:
    """Check reported deaths until the pools are closed."""
    reconciler = Reconciler(pool, pools.reason, functools.partial(recovery.recover, pool, ledger))
    watching = spawn(reconciler.watch(), f"deaths in {pool.name}")
    stack.callback(watching.cancel)
    return reconciler


async def _close(parts: _Parts, owner: Owner | None, leaving: Leaving) -> None:
    """Stop what runs, or leave it, as the settings say. What another service has taken over is always left."""
    is_ours = owner is None or not owner.is_lost
    await leaving.close(parts.pools, stop=is_ours and from_settings.on_exit(parts.settings, parts.kind) == "stop")


def _keep_time(
    stack: contextlib.AsyncExitStack, parts: _Parts, reconcilers: list[Reconciler], owner: Owner | None
) -> None:
    jobs: dict[str, tuple[Callable[[], object], float]] = {
        "ledger": (parts.ledger.prune, _PRUNE),
        "ledger's file": (functools.partial(recovery.keep, parts.pools, parts.ledger), _KEEP),
        "state directory": (parts.holding.keep, _KEEP),
    }
    if owner is not None:
        jobs["owner"] = (owner.keep, _OWN)
    jobs |= {f"tick {pool.name}": (pool.tick, parts.settings.cull_period) for pool in parts.pools}
    jobs |= {f"reconcile {reconciler.name}": (reconciler.look, _RECONCILE) for reconciler in reconcilers}
    jobs |= {f"pulse {reconciler.name}": (reconciler.pulse, _PULSE) for reconciler in reconcilers}
    jobs |= {f"knock {reconciler.name}": (reconciler.knock, _KNOCK) for reconciler in reconcilers}
    scheduler = timers.start(jobs)
    stack.callback(scheduler.shutdown, wait=False)


# Listeners


def _bind(stack: contextlib.AsyncExitStack, settings: Settings, ip: str | None) -> dict[str, socket.socket]:
    """Bind both ports before anything else is touched. Clients that connect early wait until sessions are adopted."""
    wanted = {"--port": (ip, settings.port), "--admin-port": (settings.admin_ip, settings.admin_port)}
    sockets = {}
    for option, (address, port) in wanted.items():
        try:
            sock = listener.bind(address, port)
        except OSError as error:
            if error.errno in _ADDRESS_ERRORS:
                name = "--ip" if option == "--port" else "--admin-ip"
                raise ConfigError(f"{name}: {address!r} cannot be bound: {error.strerror or error}") from error
            where = address or "all addresses"
            raise ConfigError(f"{option}: {port} on {where} cannot be bound: {error.strerror or error}") from error
        stack.callback(sock.close)
        sockets[option] = sock
    return sockets


async def _listen(
    stack: contextlib.AsyncExitStack, parts: _Parts, traits: dict[str, Traits], sockets: dict[str, socket.socket]
) -> None:
    settings, pools = parts.settings, parts.pools
    tickets = functools.partial(Tickets, parts.ledger.secret, clock=parts.ledger.now)
    wanted = from_settings.wanted_pools(settings)
    landing = {name: _landing(pool, traits[name]) for name, pool in wanted.items()}
    documents = {name: _index(pool, traits[name]) for name, pool in wanted.items()}
    images = {name: parts.kind.image_of(pool.image) for name, pool in wanted.items()}
    api_token = settings.api_auth_token.get_secret_value() if settings.api_auth_token else None
    local_token = api_token or parts.made_token if parts.kind.is_local_only else None
    lock = Lock(local_token, settings.port) if local_token else None
    reached_at = _public_address(settings)
    admin_token, admin_local_ip = await _admin_lock(parts, local_token)
    handoffs = tickets("handoff", HANDOFF_LIFETIME)
    secrets = tuple(token for token in (api_token, local_token, admin_token) if token)
    sessions = Sessions(parts.ledger)
    refusals = Refusals(has_public_url=settings.public_url is not None)
    rules = Rules(api_token, lock, secrets, handoffs.is_ours)
    edge = Edge(pools, reached_at, rules, sessions.note_opened, refusals)
    pages = await asyncio.to_thread(
        Pages,
        isolated=traits[settings.pool_name].isolated,
        domain=reached_at.domain,
        ancestors=reached_at.embedding.ancestors if reached_at.embedding else "'none'",
    )
    answers = Answers(pages, from_settings.cors(settings))
    entrance = Entrance(answers, handoffs, lock)
    limits, preview = _start_limits(parts), Preview(pools, documents, is_embeddable=reached_at.embedding.is_for_all)
    launch = (
        None
        if api_token
        else Launch(pools, sessions, answers, entrance, limits, tickets(), landing, documents, preview)
    )
    api = Api(pools, parts.ledger, sessions, answers, limits, images, documents, is_trusted=api_token is not None)
    session = Session(sessions, answers, pages, landing, refusals, has_launch_pages=launch is not None)
    claim = Claim(sessions, entrance, pages, tickets("claim"))
    table = _repositories(settings)
    peer, build = PeerRedirects(pools, table), Build(pools, sessions, limits, tickets("build"), table)
    embed = EmbedPage(pools, pages, documents, table, reached_at.embedding, landing)
    handlers = launch, api, session, claim, answers, entrance, peer, build, Home(pools, pages), preview, embed
    public = await asyncio.to_thread(functools.partial(routes.public, *handlers, is_locked=lock is not None))
    terms = listener.ListenerLimits(
        parts.timeouts, settings.connections_per_address, settings.upload_limit, reached_at.trusted
    )
    await listener.serve(stack, public, sockets["--port"], edge.decide, terms)
    admin = routes.admin(Admin(pools, parts.ledger, sessions, parts.metrics), answers)
    await listener.serve(stack, admin, sockets["--admin-port"], admin_decide(admin_token, admin_local_ip))


def _public_address(settings: Settings) -> PublicAddress:
    return PublicAddress(
        settings.public_url,
        settings.domain_per_notebook,
        networks(settings.trusted_proxies),
        Embedding(settings.embed_origins),
        Embedding(filter(None, (settings.allow_origin,))),
        settings.port,
    )


def _start_limits(parts: _Parts) -> StartLimits:
    most = from_settings.notebooks_per_address(parts.settings, parts.kind)
    holding = None if most == 0 else HoldingLimit(parts.ledger.secret, most)
    return StartLimits(parts.settings.starts_per_hour, parts.settings.workshop_code, holding=holding)


def _repositories(settings: Settings) -> Repositories:
    rows = [
        Row(row.name, None if row.pool == settings.pool_name else row.pool, row.directory, row.prefix)
        for row in settings.repositories
    ]
    return Repositories(rows, refuses_others=settings.unknown_repositories == "refuse")


def _index(wanted: PoolSettings, traits: Traits) -> DocumentIndex:
    """Return the known documents; a command of the operator's own may fetch more before it starts the server."""
    return DocumentIndex(_documents(traits), may_grow=bool(wanted.command))


def _documents(traits: Traits) -> tuple[Document, ...]:
    """Return the documents that each notebook has; none where directories of the host hold more, which may change."""
    edition = traits.edition
    return () if edition.spec.binds else beneath(edition.image.documents, edition.image.below)


def _landing(wanted: PoolSettings, traits: Traits) -> Landing:
    return Landing(wanted.redirect_uri or traits.edition.landing, is_chosen=wanted.redirect_uri is not None)


async def _admin_lock(parts: _Parts, local_token: str | None) -> tuple[str, str | None]:
    """Return the admin listener's token, and its address if its Host must name this machine.

    Without the operator's own token it is the printed secret, or one that is kept in the state directory: any user of
    this machine can reach loopback.
    """
    settings = parts.settings
    if settings.admin_auth_token is not None:
        return settings.admin_auth_token.get_secret_value(), None
    if local_token is not None:
        return local_token, settings.admin_ip
    token, path = await asyncio.to_thread(state_dir.admin_token, parts.state)
    parts.holding.token = token
    if path is not None:
        _log.info("admin.opened", token_file=str(path), message="every request needs the token in this file")
    return token, settings.admin_ip
