"""The images, built when the first test asks for them."""

import pytest

from tests.archlinux import stage
from tmppool.build_image import build


@pytest.fixture
async def full() -> str:
    """The image with all that can be had here: Python with the scientific packages, the shell, R and Octave."""
    return await build(stage.NAME, await stage.full_options())


@pytest.fixture
async def lean() -> str:
    """The image with every part left out that can be left out."""
    return await build(stage.NAME, await stage.lean_options())
