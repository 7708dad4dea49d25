"""Notebooks as containers of a Docker Engine.

A pool's containers are identified by their labels alone. A container is created, started, and reached in its network
namespace or at its address. Once its notebook is assigned, the service never execs, copies or attaches.
"""

import asyncio
import contextlib
import functools
import secrets
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Self

import structlog

from tmppool.backends import container_dial, engine, image_home, preflight, uids
from tmppool.backends.auditable import Auditable
from tmppool.backends.base import Edition, ImageFacts, Paths, Spec, Traits
from tmppool.backends.container import (
    EDITION_LABEL,
    GIVEN_LABEL,
    HOME_FAILED,
    KEY_LABEL,
    SECRET_LABEL,
    EngineFacts,
    container_config,
    container_name,
    edition_id,
    edition_of,
    given_name,
    given_of,
    is_sound,
    knock_of,
    labels,
    owner_name,
    secret_of,
    token_of,
    trial_config,
)
from tmppool.backends.container_death import Record, of_state
from tmppool.backends.netns import require_permission
from tmppool.errors import BackendError, StartError, TakenError
from tmppool.jupyter import JupyterClient
from tmppool.keys import id_of
from tmppool.running import Death, Paused, Running
from tmppool.tasks import completed, finish, spawn

_LOG_LINES = 20
_EXIT_GRACE = 10.0  # seconds that a busy engine may take to report an exit
_RUNS = ("running", "paused")  # states of a container that has processes (Docker Engine API, ContainerList)
_CLEARING = 2.0  # seconds to remove what has ended, fewer than ``_STUCK``: it has ended all the same
_LOOK_AGAIN = 0.5  # seconds after which one that was killed is looked for again: its removal kills it first
_PAUSES = {"pause": True, "unpause": False}  # the engine's events
_ASKED_ABOUT = 2  # notebooks in a ping: they can be stuck while the engine is well, so the owner's container is a third
_STUCK = 3.0  # seconds without an answer about any container, after which those that are asked about are stuck
_AT_ONCE = 32  # containers that are asked about at a time, so that a click's rename need not wait for all of them
_DEAF = 3.0  # seconds in which the engine tells of a start, while its event stream works
_UID_TRIES = 5  # attempts to get a UID when another service takes the same one

_Question = Callable[[], Coroutine[Any, Any, Running | None]]
_OWNER = "the owner"  # in place of a notebook's key

_log = structlog.get_logger("tmppool.docker")


class _HomeError(StartError):
    """A notebook could not unpack the home of the image."""


@dataclass(frozen=True, slots=True)
class _Listed:
    """A container as a list has it."""

    container_id: str
    state: str
    labels: Mapping[str, str]


@dataclass(slots=True)
class _Attempt:
    """The progress of a start, for its error."""

    container: engine.Container | None = None
    jupyter: JupyterClient | None = None

    def outcome(self, edition: Edition) -> str:
        """Return how far it came, in words."""
        if self.jupyter is None:
            return "its container was not running by then"
        return self.jupyter.heard or f"nothing listened on port {edition.spec.port} (--container-port)"


class DockerBackend(Auditable):
    """One pool's containers on one engine."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._docker: engine.Client | None = None
        self._editions: dict[str, Edition] = {}
        self._engines: dict[str, EngineFacts] = {}  # by edition id
        self._reached: dict[str, container_dial.Reach] = {}
        self._has_reached = False  # any container: the engine's are processes on this host
        self._last: dict[str, Running] = {}  # what was last said of each that is reached
        self._postponed: set[str] = set()  # keys of what runs and cannot be adopted yet
        self._told_at = 0.0  # when the engine last told of a container that was asked about; monotonic seconds
        self._ids: dict[str, str] = {}  # container ids by key: a name may change
        self._given: frozenset[str] = frozenset()  # keys that this process assigned, or tried to
        self._starting: set[str] = set()
        self._stopping: set[str] = set()
        self._unheard: set[str] = set()  # keys of starts of which no event has told
        self._record = Record()
        self._taking: dict[str, asyncio.Task[ImageFacts]] = {}  # by volume
        self._unclean: set[str] = set()  # keys of failed starts that may have left a container

    @classmethod
    def from_spec(cls, spec: Spec, paths: Paths) -> Self:
        del paths  # it stores nothing on this machine
        return cls(spec)

    @property
    def docker(self) -> engine.Client:
        assert self._docker is not None, "open() comes first"
        return self._docker

    @property
    def _busy(self) -> set[str]:
        return self._starting | self._stopping | self._unclean

    @property
    def spec(self) -> Spec:
        return self._spec

    @property
    def edition(self) -> Edition:
        """The edition of the backend's own spec; valid after ``open``."""
        return next(iter(self._editions.values()))

    @property
    def image(self) -> ImageFacts:
        return self.edition.image

    def trial_config(self, name: str, command: Sequence[str]) -> dict[str, Any]:
        own = self.edition
        return trial_config(own.spec, name, own.image, self._engines[own.id], command)

    async def open(self) -> Traits:
        self._docker = await engine.connect()
        notes = []
        if self._spec.network == "none":
            try:
                await asyncio.to_thread(require_permission)
            except BackendError as error:
                self._spec = replace(self._spec, network="isolated")
                notes.append(
                    f"{error}. Using --network isolated instead, one internal bridge, from which notebooks reach this"
                    " machine's own addresses unless a firewall drops that"
                )
        edition = await self.prepare(self._spec)
        return Traits(isolated=True, edition=edition, notes=(*notes, *image_home.notes(edition)))

    async def prepare(self, spec: Spec) -> Edition:
        network = self._spec.network if spec.network == "none" else spec.network
        spec = replace(spec, service=self._spec.service, pool=self._spec.pool, network=network)
        facts = await preflight.engine_facts(self.docker, spec.seccomp)
        image = await image_home.take(self.docker, spec, await preflight.inspect_image(self.docker, spec.image))
        try:
            if network != "none":
                await preflight.make_network(self.docker, spec)
            image = await preflight.try_out(self.docker, spec, image, facts)
        except BaseException:
            await completed(image_home.discard(self.docker, spec, image.volume), "remove a volume")
            raise
        made = Edition(edition_id(spec, image, facts), spec.image, spec, image, image.landing)
        self._editions[made.id], self._engines[made.id] = made, facts
        return made

    async def start(self, key: str, edition: Edition) -> Running:
        self._starting.add(key)
        attempt = _Attempt()
        try:
            async with asyncio.timeout(edition.spec.start_timeout):
                return await self._start(key, edition, attempt)
        except BaseException as error:
            tail = await self._last_words(attempt) if isinstance(error, TimeoutError) else ""
            await completed(self._clean(key), "clean up a start")  # so that a cancelled start leaves nothing
            if isinstance(error, _HomeError):
                await self._take_home_again(edition)
            if isinstance(error, TimeoutError):
                limit = edition.spec.start_timeout
                said = f"a notebook of {edition.name} did not answer within {limit:.0f} s: {attempt.outcome(edition)}"
                raise StartError(said, log_tail=tail) from error
            raise
        finally:
            self._starting.discard(key)
            uids.give_back(container_name(self._spec, key))

    async def give(self, key: str) -> None:
        is_first, self._given = key not in self._given, self._given | {key}
        was_renamed = await engine.rename(self.docker, self._named(key), given_name(self._spec, key))
        if is_first and not was_renamed:
            self._given -= {key}
            raise TakenError("another service with this name has assigned this notebook")

    async def stop(self, key: str) -> None:
        self._let_go(key)
        self._unheard.discard(key)
        self._stopping.add(key)
        try:
            await engine.remove(self.docker, self._named(key))
            self._ids.pop(key, None)
            self._given -= {key}
            self._record.forget(key)
        finally:
            self._stopping.discard(key)

    async def list(self, known: Collection[str] = ()) -> list[Running]:
        busy = self._busy  # the engine's answer about these may be outdated when it is read
        found = await engine.containers(self.docker, _ours(self._spec))
        for key in self._unclean - self._stopping:  # the engine answers now
            spawn(self._clean(key), "clean up a start again")
        listed = dict[str, _Listed]()
        for container in found:
            with engine.reading("list containers"):
                item = _Listed(container.id, str(container["State"]), dict(container["Labels"]))
            listed[str(item.labels.get(KEY_LABEL, ""))] = item
        self._postponed &= listed.keys()
        idle = {key: item for key, item in listed.items() if key not in busy | self._busy}
        ended = {key for key, item in idle.items() if item.state not in _RUNS}
        told = await self._described(
            {key: functools.partial(self._look_into, key, item) for key, item in idle.items()}, idle.keys() - ended
        )
        missing = {key for key in known if told.get(key) is None} - busy - self._busy - self._postponed
        sought = await self._described({key: functools.partial(self._look_for, key) for key in missing}, missing)
        for key, each in sought.items():
            told[key] = None if isinstance(each, BackendError) and key in ended else each
        entries = [self._as_it_was(key, each) if isinstance(each, BackendError) else each for key, each in told.items()]
        return [entry for entry in entries if entry is not None]

    async def ping(self) -> None:
        settled = [self._ids[key] for key in self._reached if key in self._ids and key not in self._busy]
        await engine.ping(self.docker, [owner_name(self._spec.service), *settled[:_ASKED_ABOUT]])

    async def deaths(self) -> AsyncIterator[str | Paused | None]:
        async for event in engine.events(self.docker, _ours(self._spec), KEY_LABEL):
            if event is None:
                yield None
                continue
            key = event.key
            self._unheard.discard(key)
            if event.action == engine.START:
                continue
            if key not in self._ids or key in self._busy:  # a stranger's, or the service's own doing
                continue
            self._record.note_event(event)
            if event.action in _PAUSES:
                if key in self._last:
                    self._last[key] = replace(self._last[key], is_paused=_PAUSES[event.action])
                yield Paused(key, _PAUSES[event.action])
            elif event.action == "die" and key in self._reached:
                yield key

    async def death(self, key: str) -> Death:
        with contextlib.suppress(BackendError):
            await self._look_at_end(key)
            if self._record.death(key) is Death.KILLED and key in self._ids:
                await asyncio.sleep(_LOOK_AGAIN)
                await self._look_at_end(key)
        return self._record.death(key)

    async def close(self) -> None:
        for key in list(self._reached):
            self._let_go(key)
        await finish(set(self._taking.values()), grace=0)
        if self._docker is not None:
            await self._docker.close()

    # Starting

    async def _start(self, key: str, edition: Edition, attempt: "_Attempt") -> Running:
        token, secret = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
        try:
            container = await self._make(key, token, secret, edition)
            self._ids[key] = container.id
            self._unheard.add(key)
            await engine.start(container)
            asyncio.get_running_loop().call_later(_DEAF, self._check_events, key)
            attempt.container = container
        except engine.RefusedError as error:
            if error.status == engine.NOT_FOUND and "image" in error.said.lower():
                raise StartError(f"image {edition.name} is no longer on the engine", transient=False) from error
            if error.status not in (engine.NOT_FOUND, engine.CONFLICT):
                raise
            raise StartError(f"the engine refused a container: {error.said}") from error
        exited = spawn(engine.wait(self.docker, container), "watch a start", awaited=True)
        try:
            self._reached[key] = await container_dial.find(self.docker, container.id, edition.spec.port)
            self._has_reached = True
            reach, knock = self._reached[key], edition.image.knock
            running = Running(
                key, reach.dial, token, time.time(), secret, edition=edition.id, pid=reach.pid, knock=knock
            )
            running = await self._when_ready(running, edition, attempt, exited)
        except container_dial.GoneError as error:
            await asyncio.wait({exited}, timeout=_EXIT_GRACE)
            if not exited.done():  # it runs, but not on this host
                raise self._unreached() from error
        except container_dial.ElsewhereError as error:
            raise self._unreached() from error
        finally:
            exited.cancel()
        if exited.done() and not exited.cancelled():
            exited.result()
            raise await self._exit_error(container, edition)
        self._last[key] = running
        return running

    def _check_events(self, key: str) -> None:
        """Listen to the engine anew if it has not told of a start: what else has happened is to be found out too."""
        if key in self._unheard:
            self._unheard.discard(key)
            self.docker.listen_again()

    def _unreached(self) -> BackendError:
        """Return the error for a container that runs and cannot be found here: final only if none ever was."""
        if self._has_reached:
            return BackendError("the engine denies a container that it has just started")
        return container_dial.ElsewhereError()

    async def _when_ready(
        self, running: Running, edition: Edition, attempt: "_Attempt", exited: asyncio.Task[None]
    ) -> Running:
        """Return the notebook once it is ready, with what it was found to be, or once its container has ended.

        Raises StartError if it never will be.
        """
        async with JupyterClient(running) as jupyter:
            attempt.jupyter = jupyter
            ready = spawn(jupyter.wait_ready(), "wait until ready", awaited=True)
            try:
                await asyncio.wait({ready, exited}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                ready.cancel()
            if ready.done():
                ready.result()
            if await jupyter.refuses_token():
                raise StartError(
                    f"the notebook of {edition.name} answers, but not to the service's token: its configuration sets"
                    " another (IdentityProvider.token, ServerApp.token or NotebookApp.token), an identity provider of"
                    " its own (ServerApp.identity_provider_class) that does not take tokens, or an authorizer"
                    " (ServerApp.authorizer_class) that does not let their holder in, which must be left out",
                    transient=False,
                )
            return replace(running, is_jupyter=jupyter.is_jupyter, began=jupyter.began)

    async def _make(self, key: str, token: str, secret: str, edition: Edition) -> Any:
        """Create the container; if each has its own UID, with one that no other container uses."""
        spec, name = edition.spec, container_name(self._spec, key)

        def config(uid: int | None) -> dict[str, Any]:
            facts = self._engines[edition.id]
            made = container_config(spec, key, token, edition.image, facts, uid=uid)
            # Labels are invisible inside the container.
            made["Labels"] |= {SECRET_LABEL: secret, EDITION_LABEL: edition.id, GIVEN_LABEL: "name"}
            return made

        if spec.user is not None:
            return await engine.create(self.docker, name, config(None))
        for _ in range(_UID_TRIES):
            uid = await uids.take(self.docker, spec.uids, name)
            container = await engine.create(self.docker, name, config(uid))
            if await uids.is_alone(self.docker, uid):
                return container
            await engine.remove(self.docker, name)
        raise StartError("other services on this engine keep taking the same UIDs")

    async def _exit_error(self, container: Any, edition: Edition) -> StartError:
        shown = await container_dial.show(self.docker, container.id)
        tail = engine.bounded(await engine.log(container, _LOG_LINES))
        with engine.reading("inspect a container"):
            state = shown["State"]
            is_oom = of_state(state) is Death.OUT_OF_MEMORY
            how = "ran out of memory" if is_oom else f"exited with code {state['ExitCode']}"
        if HOME_FAILED in tail:
            return _HomeError(f"a notebook of {edition.name} did not get the whole home of the image", log_tail=tail)
        return StartError(f"the notebook command of {edition.name} {how} before it answered", log_tail=tail)

    async def _take_home_again(self, edition: Edition) -> None:
        """Write the volume of the image's home once more, as it may have been removed: once for all starts that fail.

        Raises BackendError.
        """
        volume = edition.image.volume
        if volume not in self._taking:
            work = image_home.take(self.docker, edition.spec, edition.image)
            self._taking[volume] = spawn(work, "take a home again", awaited=True)
            self._taking[volume].add_done_callback(lambda _done: self._taking.pop(volume, None))
        taking = self._taking[volume]
        await asyncio.wait({taking})  # which a start that is cancelled leaves to the others
        taking.result()

    async def _last_words(self, attempt: "_Attempt") -> str:
        try:
            return "" if attempt.container is None else engine.bounded(await engine.log(attempt.container, _LOG_LINES))
        except BackendError as error:
            return str(error)

    # Stopping

    async def _clean(self, key: str) -> None:
        """Remove what a failed start may have left; ``list`` tries again if the engine fails."""
        self._unclean.add(key)
        try:
            await self.stop(key)
        except BackendError as error:
            _log.warning("start.cleanup_failed", error=str(error))
        else:
            self._unclean.discard(key)

    async def _has_ended(self, key: str, container_id: str, state: str) -> bool:
        """Return True if a container in this state has ended; remove an ended one that is still there."""
        if state in _RUNS or await self._is_there(key):
            return False
        if state == "removing":
            self._record.note_removal(key)
            return True
        try:
            async with asyncio.timeout(_CLEARING):
                return await self._clear(key, container_id)
        except (BackendError, TimeoutError) as error:
            _log.warning("remains.cleanup_failed", error=str(error) or "the engine did not remove them in time")
            return True

    async def _clear(self, key: str, container_id: str) -> bool:
        """Remove what is left of a container; return False if it runs. Raises BackendError."""
        with contextlib.suppress(BackendError):
            await self._look_at_end(key, container_id)
        self._record.note_clearing(key, is_cleared=True)
        if not await engine.remove_ended(self.docker, container_id):
            self._record.note_clearing(key, is_cleared=False)
            return False
        self._let_go(key)
        self._ids.pop(key, None)
        return True

    def _let_go(self, key: str) -> None:
        self._last.pop(key, None)
        held = self._reached.pop(key, None)
        if held is not None:
            held.close()

    async def _look_at_end(self, key: str, container_id: str | None = None) -> None:
        """Note how the engine describes the end of a container whose id is known. Raises BackendError."""
        known = container_id or self._ids.get(key)
        if known is None:
            return
        try:
            shown = await container_dial.show(self.docker, known)
        except container_dial.GoneError:
            self._record.note_removal(key)
            return
        with engine.reading("inspect a container"):
            self._record.note_state(key, shown["State"])
        if self._record.lacks_events(key):
            for event in await engine.past_events(self.docker, known, KEY_LABEL):
                if event.key == key:
                    self._record.note_event(event)

    # Finding

    async def _described(
        self, questions: Mapping[str, _Question], runs: Collection[str]
    ) -> dict[str, Running | BackendError | None]:
        """Return the answer to the question about each container, or why the engine does not describe it, by key.

        The owner's container is asked about beside them: it never runs, so it cannot be stuck. If the engine describes
        that one, those that it does not are stuck by themselves, be it all. Raises BackendError if it describes neither
        that one nor any of those that are said to run.
        """
        if not questions:
            return {}
        told = await self._answers({_OWNER: self._ask_about_owner, **questions})
        owner = told.pop(_OWNER)
        if isinstance(owner, BackendError) and all(isinstance(told[key], BackendError) for key in runs):
            raise owner
        return told

    async def _ask_about_owner(self) -> None:
        """Ask about the owner's container; that there is none is an answer too. Raises BackendError."""
        with contextlib.suppress(container_dial.GoneError):
            await container_dial.show(self.docker, owner_name(self._spec.service))

    async def _answers(self, questions: Mapping[str, _Question]) -> dict[str, Running | BackendError | None]:
        """Return the answer to each question, or why there is none; some are asked at a time.

        Once one is answered, others are waited for as long as the engine tells of any, be it a part of an answer, as a
        slow engine does: one container that is stuck by itself is not to hold up all.
        """
        waiting, asked = deque(questions.items()), dict[asyncio.Task[Running | None], str]()
        told = dict[str, Running | BackendError | None]()
        try:
            while waiting or asked:
                while waiting and len(asked) < _AT_ONCE:
                    key, question = waiting.popleft()
                    asked[spawn(question(), f"describe {id_of(key)}", awaited=True)] = key
                patience = max(0.0, self._told_at + _STUCK - time.monotonic()) if told else None
                done, _ = await asyncio.wait(asked, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
                if not done and time.monotonic() >= self._told_at + _STUCK:
                    done = set(asked)
                    await finish(done, grace=0)
                if done:
                    told |= {asked.pop(each): _outcome(each) for each in done}
                    self._told_at = time.monotonic()
        finally:
            await finish(set(asked), grace=0)
        return told

    async def _show(self, container: str) -> dict[str, Any]:
        """Return the engine's answer about a container, and note that it came. Raises GoneError; BackendError."""
        shown = await container_dial.show(self.docker, container)
        self._told_at = time.monotonic()
        return shown

    async def _look_into(self, key: str, item: _Listed) -> Running | None:
        """Return the notebook in a container that is listed, as ``_recover``; clear it away if it has ended."""
        if await self._has_ended(key, item.container_id, item.state):
            return None
        return await self._recover(key, item.container_id, item.labels)

    async def _recover(self, key: str, container_id: str, listed: Mapping[str, str] | None = None) -> Running | None:
        """Return the notebook in a container that runs; None if it has ended, or cannot be adopted now.

        ``listed``: its labels, as a list has them.
        """
        was_known = key in self._ids
        try:
            shown = await self._show(container_id)
            with engine.reading("inspect a container"):
                is_anew = key in self._reached and self._reached[key].pid != shown["State"]["Pid"]
            if is_anew:
                return None  # restarted: its notebook has ended
            if key not in self._reached:
                await self._reach(key, container_id, shown, listed)
            if key in self._stopping or (was_known and key not in self._ids):  # its stop has begun, or even ended
                self._let_go(key)
                return None
        except container_dial.GoneError:
            return None  # any other error is the engine's, and does not mean that the notebook ended
        except (container_dial.ElsewhereError, container_dial.UnsoundError) as error:
            self._postpone(key, error)
            return None
        self._ids[key] = container_id
        with engine.reading("inspect a container"):
            if shown["State"]["Running"]:
                self._record.note_life(key)
            running = self._last[key] = Running(
                key,
                self._reached[key].dial,
                token_of(shown),
                created_at=datetime.fromisoformat(shown["Created"][:19] + "+00:00").timestamp(),
                secret=secret_of(shown),
                edition=edition_of(shown),
                given=given_of(self._spec, key, shown),
                knock=knock_of(shown["Config"].get("Labels")),
                pid=self._reached[key].pid,
                is_paused=bool(shown["State"].get("Paused")),
            )
        return running

    async def _reach(
        self, key: str, container_id: str, shown: dict[str, Any], listed: Mapping[str, str] | None
    ) -> None:
        """Find the way to a container that was not reached before. Raises what ``container_dial.reach`` raises.

        Its notebook will be served by what the engine says now, so two answers must agree.
        """
        again = await self._show(container_id)
        with engine.reading("inspect a container"):
            if not is_sound(self._spec, key, shown, again, listed=listed):
                raise container_dial.UnsoundError
        found = await container_dial.reach(self.docker, container_id, self._port_of(shown), again)
        if self._reached.setdefault(key, found) is not found:
            found.close()  # a concurrent list() was quicker
        self._has_reached = True
        self._postponed.discard(key)

    def _as_it_was(self, key: str, error: BackendError) -> Running | None:
        """Return what was last said of a container that cannot be described: one can be stuck by itself."""
        if key not in self._last:
            self._postpone(key, error)
        return self._last.get(key)

    def _postpone(self, key: str, error: BackendError) -> None:
        """Leave a container to the next list, as the answers about it may be better then."""
        if key not in self._postponed:
            self._postponed.add(key)
            _log.warning("adoption.postponed", notebook=id_of(key), error=str(error))

    def _port_of(self, shown: dict[str, Any]) -> int:
        """Return the port of a container's edition; the spec's if the edition is unknown."""
        with engine.reading("inspect a container"):
            edition = self._editions.get(edition_of(shown))
        return self._spec.port if edition is None else edition.spec.port

    async def _look_for(self, key: str) -> Running | None:
        """Look up one container by its two names, if the list lacks it; if these are denied too, by its process."""
        for name in (given_name(self._spec, key), container_name(self._spec, key)):
            try:
                shown = await self._show(name)
            except container_dial.GoneError:
                continue
            wanted = {**labels(self._spec), KEY_LABEL: key}.items()
            with engine.reading("inspect a container"):
                is_ours = shown["State"]["Running"] and wanted <= (shown["Config"].get("Labels") or {}).items()
                container_id = str(shown["Id"])
            if is_ours:
                return await self._recover(key, container_id)
        return self._last.get(key) if await self._is_there(key) else None

    async def _is_there(self, key: str) -> bool:
        """Return True if the first process of a container that was reached is there, whatever the engine says of it."""
        reach = self._reached.get(key)
        return reach is not None and await container_dial.is_there(reach, self._ids.get(key, ""))

    def _named(self, key: str) -> str:
        """Return the container's id, or its original name while the id is unknown."""
        return self._ids.get(key) or container_name(self._spec, key)


def _outcome(asked: asyncio.Task[Running | None]) -> Running | BackendError | None:
    if asked.cancelled():
        return engine.SilentError("the engine told of other containers and not of this one")
    error = asked.exception()
    if error is not None and not isinstance(error, BackendError):
        raise error
    return asked.result() if error is None else error


def _ours(spec: Spec) -> list[str]:
    return [f"{name}={value}" for name, value in labels(spec).items()]
