"""Tries that wait go on when there is reason to."""

import asyncio

from tmppool.retries import Retries


async def test_a_pause_ends_by_itself() -> None:
    async with asyncio.timeout(10):
        await Retries().pause(0.0)
        await Retries().pause(0.01)


async def test_all_pauses_end_when_the_backend_is_well_again_and_later_ones_do_not() -> None:
    retries = Retries()
    pauses = [asyncio.ensure_future(retries.pause(1e6)) for _ in range(3)]
    await asyncio.sleep(0)
    retries.resume()
    retries.resume()
    async with asyncio.timeout(10):
        await asyncio.gather(*pauses)
    later = asyncio.ensure_future(retries.pause(1e6))
    await asyncio.sleep(0.01)
    assert not later.done()
    later.cancel()
    await asyncio.wait({later})
    assert not retries._pauses
