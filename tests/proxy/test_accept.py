"""Who comes in, and who is turned away at the cost of almost nothing."""

import asyncio

import pytest
from structlog.testing import capture_logs

from tests.proxy.conftest import Open
from tests.proxy.stage import CutError, House, Peer, eventually
from tests.proxy.test_tunnel import CHANNELS, HANDSHAKE, shake
from tmppool.proxy import accept
from tmppool.web import listener


async def fill(house: House, count: int) -> list[Peer]:
    visitors = [await house.visitor() for _ in range(count)]
    for visitor in visitors:
        await visitor.send(house.head("GET", "x"))
        assert (await visitor.answer()).status == 200
    return visitors


async def is_in(house: House, source: str = "127.0.0.1") -> bool:
    visitor = await house.visitor(source=source)
    await visitor.send(house.head("GET", "x"))
    answer = await visitor.answer()
    visitor.close()
    assert answer.status in (200, 429, 503)
    return answer.status == 200


async def comes_in(house: House) -> None:
    async with asyncio.timeout(30):
        while not await is_in(house):
            await asyncio.sleep(0.005)


async def test_one_connection_too_many_from_an_address_is_told_to_come_later(hurried: Open) -> None:
    house = await hurried({"connections_per_address": 3})
    await fill(house, 3)
    visitor = await house.visitor()
    await visitor.send(house.head("GET", "x"))
    answer = await visitor.answer()
    assert (answer.status, answer.fields["Retry-After"], answer.fields["Connection"]) == (429, "60", "close")
    assert answer.fields["Content-Type"].startswith("text/plain")
    assert await visitor.is_closed()
    assert len(house.stranger.requests) == 3


async def test_others_come_in_while_one_address_has_too_many(hurried: Open) -> None:
    house = await hurried({"connections_per_address": 3})
    await fill(house, 3)
    assert not await is_in(house)
    assert await is_in(house, "127.0.0.2")


async def test_who_leaves_makes_room_in_whatever_way(hurried: Open) -> None:
    house = await hurried({"connections_per_address": 3})

    async def hold(connection: Peer) -> None:
        await shake(house, connection)
        with pytest.raises(CutError):
            await connection.until(b"never")
        connection.close()

    for way in ("close", "reset", "tunnel", "refused"):
        visitors = await fill(house, 2)
        last = await house.visitor()
        script = house.stranger.script
        if way == "tunnel":
            house.stranger.script = hold
            await last.send(house.head("GET", CHANNELS, *HANDSHAKE))
            assert (await last.head()).status == 101
            house.stranger.script = script
        elif way == "refused":
            await last.send(b"nonsense\r\n\r\n")
            await last.answer()
        else:
            await last.send(house.head("GET", "x"))
            await last.answer()
        assert not await is_in(house), way
        last.reset() if way == "reset" else last.close()
        await comes_in(house)
        for visitor in visitors:
            visitor.close()
        await comes_in(house)


async def test_a_trusted_proxy_has_any_number(hurried: Open) -> None:
    house = await hurried({"connections_per_address": 1, "trusted_proxies": ("127.0.0.1",)})
    await fill(house, 5)
    assert await is_in(house)


async def test_when_there_is_no_room_nobody_comes_in(hurried: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "connection_capacity", lambda: 3)
    house = await hurried()
    visitors = await fill(house, 3)
    visitor = await house.visitor(source="127.0.0.2")
    await visitor.send(house.head("GET", "x"))
    assert (await visitor.answer()).status == 503
    visitors[0].close()
    await comes_in(house)


async def test_who_is_turned_away_and_says_nothing_is_closed(hurried: Open) -> None:
    house = await hurried({"connections_per_address": 1}, linger=0.05)
    await fill(house, 1)
    assert await (await house.visitor()).is_closed()


async def test_who_is_turned_away_does_not_hold_a_place_for_long_either(
    hurried: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accept, "_MAX_TURNED_AWAY", 2)
    house = await hurried({"connections_per_address": 1})
    await fill(house, 1)
    waiting = [await house.visitor() for _ in range(2)]
    await waiting[0].send(house.head("GET", "x"))
    assert (await waiting[0].answer()).status == 429
    assert await (await house.visitor()).is_closed()
    for visitor in waiting:
        visitor.close()

    async def is_told() -> bool:
        visitor = await house.visitor()
        await visitor.send(house.head("GET", "x"))
        try:
            return (await visitor.answer()).status == 429
        except (CutError, ConnectionError):
            return False
        finally:
            visitor.close()

    async with asyncio.timeout(30):
        while not await is_told():
            await asyncio.sleep(0.005)


async def test_the_operator_is_told_once_and_not_who_it_was(hurried: Open) -> None:
    house = await hurried({"connections_per_address": 1})
    await fill(house, 1)
    with capture_logs() as logs:
        for _ in range(5):
            assert not await is_in(house)
    found = [entry for entry in logs if entry["event"] == "connections.refused"]
    assert len(found) == 1
    assert "127.0.0.1" not in str(found)


async def test_many_who_are_turned_away_leave_nothing(hurried: Open) -> None:
    house = await hurried({"connections_per_address": 1})
    await fill(house, 1)
    tasks = len(asyncio.all_tasks())
    for number in range(200):
        visitor = await Peer.connect(house.port)
        if number % 2:
            await visitor.send(b"G")
        visitor.reset() if number % 3 else visitor.close()
    house.visitors[0].close()
    await comes_in(house)
    await eventually(lambda: len(asyncio.all_tasks()) <= tasks)
