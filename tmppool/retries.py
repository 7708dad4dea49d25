"""Pauses between the tries of calls that fail, ended early when the backend is well again."""

import asyncio


class Retries:
    """The pauses of one pool."""

    def __init__(self) -> None:
        self._pauses: set[asyncio.Future[None]] = set()

    async def pause(self, seconds: float) -> None:
        """Wait, but no longer than until ``resume``."""
        ended = asyncio.get_running_loop().create_future()
        self._pauses.add(ended)
        try:
            await asyncio.wait({ended}, timeout=seconds)
        finally:
            self._pauses.discard(ended)

    def resume(self) -> None:
        """End all pauses."""
        for ended in self._pauses:
            if not ended.done():
                ended.set_result(None)
