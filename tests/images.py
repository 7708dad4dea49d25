"""Small images for tests, built on the default one by a real engine."""

import contextlib
import io
import itertools
import os
import tarfile
from collections.abc import AsyncIterator

import aiodocker

from tmppool.backends import engine
from tmppool.build_image import build
from tmppool.pool_settings import DEFAULT_IMAGE

_numbers = itertools.count()


@contextlib.asynccontextmanager
async def built(*lines: str, base: str = DEFAULT_IMAGE) -> AsyncIterator[str]:
    """Build an image from these lines of a Dockerfile; yield its name, and remove it."""
    if not await engine.has_image(DEFAULT_IMAGE):
        await build("debian")
    context, text = io.BytesIO(), "\n".join((f"FROM {base}", *lines)).encode()
    with tarfile.open(fileobj=context, mode="w") as tar:
        member = tarfile.TarInfo("Dockerfile")
        member.size = len(text)
        tar.addfile(member, io.BytesIO(text))
    context.seek(0)
    name = f"tmppool-test-{os.getpid()}:{next(_numbers)}"
    async with aiodocker.Docker() as docker:
        async for _ in docker.images.build(fileobj=context, encoding="identity", tag=name, stream=True, rm=True):
            pass
        try:
            yield name
        finally:
            await docker.images.delete(name, force=True)
