"""Where data frames begin in a stream, and streams that are read no more."""

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmppool.proxy.frame_watch import FrameWatch

# Frames


def frame(opcode: int, size: int, *, flags: int = 0x80, is_masked: bool = True, length: int | None = None) -> bytes:
    """Return a frame; its payload looks like the heads of data frames. ``length``: bytes that say the size."""
    length = length if length is not None else 0 if size < 126 else 2 if size < 65536 else 8
    code = {0: size, 2: 126, 8: 127}[length]
    head = bytes([flags | opcode, code | (0x80 if is_masked else 0)]) + (
        size.to_bytes(length, "big") if length else b""
    )
    return head + (b"\x81\x81\x82\x82" if is_masked else b"") + (b"\x81\x01" * (size // 2 + 1))[:size]


CONTROL = [frame(8, 0), frame(9, 0), frame(9, 125), frame(10, 4), frame(11, 3), frame(3, 5)]


@pytest.mark.parametrize("is_masked", [True, False])
@pytest.mark.parametrize(
    ("size", "length"), [(0, 0), (1, 0), (125, 0), (126, 2), (65535, 2), (3, 2), (65536, 8), (3, 8)]
)
def test_only_continuation_text_and_binary_are_data(is_masked: bool, size: int, length: int) -> None:  # noqa: FBT001
    for opcode, flags in itertools.product(range(16), (0, 0x80, 0xF0)):
        watch = FrameWatch()
        data = frame(opcode, size, flags=flags, is_masked=is_masked, length=length)
        assert watch.feed(data) is (opcode <= 2), (opcode, flags)
        assert watch.feed(frame(9, 4)) is False
        assert watch.feed(frame(1, 4)) is True


def test_each_data_frame_is_seen_once_at_its_head() -> None:
    watch = FrameWatch()
    data = frame(2, 1000)
    assert [watch.feed(bytes([byte])) for byte in data].count(True) == 1
    assert watch.feed(frame(10, 100)) is False


def test_a_long_frame_is_skipped_not_kept() -> None:
    watch = FrameWatch()
    assert watch.feed(b"\x82\xff" + (1 << 40).to_bytes(8, "big") + b"mask") is True
    piece = b"\x81\x01" * 500_000
    assert not any(watch.feed(piece) for _ in range(50))


frames = st.builds(
    frame,
    st.integers(0, 15),
    st.sampled_from([0, 1, 2, 13, 14, 15, 125, 126, 127, 300]),
    flags=st.sampled_from([0, 0x80]),
    is_masked=st.booleans(),
)


@given(st.lists(frames, max_size=8), st.lists(st.integers(min_value=0), max_size=12))
def test_the_verdict_does_not_depend_on_the_split(sequence: list[bytes], places: list[int]) -> None:
    data = b"".join(sequence)
    wanted = sum(piece[0] & 15 <= 2 for piece in sequence)
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    split, whole, single = FrameWatch(), FrameWatch(), FrameWatch()
    found = [split.feed(data[one:other]) for one, other in itertools.pairwise(edges)]
    assert any(found) is whole.feed(data) is (wanted > 0)
    assert [single.feed(bytes([byte])) for byte in data].count(True) == wanted


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_what_is_no_stream_of_frames_does_no_harm(pieces: list[bytes]) -> None:
    watch = FrameWatch()
    assert all(isinstance(watch.feed(piece), bool) for piece in pieces)


@pytest.mark.parametrize("seed", range(20))
def test_control_frames_alone_are_never_an_interaction(seed: int) -> None:
    chance = random.Random(seed)
    data = b"".join(chance.choice(CONTROL) for _ in range(200))
    watch, position = FrameWatch(), 0
    while position < len(data):
        step = chance.randint(1, 200)
        assert watch.feed(data[position : position + step]) is False
        position += step


# Floods


def test_a_flood_of_frames_is_read_no_more_and_is_an_interaction() -> None:
    watch = FrameWatch()
    ping = frame(9, 0)
    assert watch.feed(ping * 1000) is False
    assert not watch.is_flood
    assert watch.feed(ping * 2) is True
    assert watch.is_flood
    watch.look()
    assert watch.is_flood
    assert [watch.feed(data) for data in (ping, ping * 100, frame(9, 4), b"\x00" * 5)] == [True] * 4


def test_a_page_that_sends_as_much_as_it_likes_in_a_second_is_no_flood() -> None:
    watch = FrameWatch()
    for _ in range(10):
        assert watch.feed(frame(9, 0) * 900) is False
        assert watch.feed(frame(10, 4) * 50 + frame(1, 10)) is True
        watch.look()
    assert not watch.is_flood
    assert not any(watch.feed(frame(9, 20)) for _ in range(20_000)), "one frame in a read costs nothing more"
    assert not watch.is_flood
