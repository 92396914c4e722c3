"""Which frames are read, however the stream is split, and which are protocol violations."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handlers.websocket.frame_reader import FRAMES_PER_TICK, FrameReader, ProtocolViolation
from handlers.websocket.rfc6455 import (
    BINARY,
    CLOSE,
    CONTINUATION,
    FIN,
    INVALID_PAYLOAD,
    MASK_BIT,
    MESSAGE_TOO_BIG,
    PING,
    PONG,
    PROTOCOL_ERROR,
    TEXT,
    UNSUPPORTED_DATA,
)
from tests.handlers.masked_frames import MASKING_KEY, frame, frame_header

MESSAGE_BYTES_MAX = 70_000


class RecordingReader(FrameReader):
    """A reader that records texts, control frames and the number of fragments."""

    def __init__(self, message_bytes_max: int = MESSAGE_BYTES_MAX) -> None:
        super().__init__(message_bytes_max)
        self.received: list[str | tuple[int, bytes]] = []
        self.on_text = self.received.append
        self.fragment_count = 0

    def on_control(self, opcode: int, payload: bytes) -> None:
        self.received.append((opcode, payload))

    def on_fragment(self) -> None:
        self.fragment_count += 1


def close_code(*chunks: bytes, message_bytes_max: int = MESSAGE_BYTES_MAX) -> int:
    """Return the close code of the last chunk's violation; the chunks before it are read."""
    reader = RecordingReader(message_bytes_max)
    for chunk in chunks[:-1]:
        reader.feed(chunk)
    with pytest.raises(ProtocolViolation) as raised:
        reader.feed(chunks[-1])
    return raised.value.code


# Frames that are read.


def test_frames_per_tick_are_bounded():
    """The remaining frames stay in order and are read by the next `feed`, also of no bytes."""
    reader = RecordingReader()
    reader.feed(b"".join(frame(b"%d" % number) for number in range(2 * FRAMES_PER_TICK + 1)))
    assert (len(reader.received), reader.has_unread_frames) == (FRAMES_PER_TICK, True)
    reader.feed(b"")
    assert (len(reader.received), reader.has_unread_frames) == (2 * FRAMES_PER_TICK, True)
    reader.feed(frame(b"late"))
    assert reader.received == [*map(str, range(2 * FRAMES_PER_TICK + 1)), "late"]
    assert not reader.has_unread_frames


def test_fragments_are_counted():
    """Empty fragments are counted too; an unfragmented text is not a fragment."""
    reader = RecordingReader()
    reader.feed(frame(b"text") + frame(b"a", TEXT, fin=False))
    reader.feed(frame(b"", CONTINUATION, fin=False) * 8 + frame(b"b", CONTINUATION))
    assert (reader.received, reader.fragment_count) == (["text", "ab"], 10)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, MESSAGE_BYTES_MAX])
def test_a_text_of_any_length_is_read(size: int):
    """The length takes 7, 16 or 64 bits."""
    reader = RecordingReader()
    reader.feed(frame(b"x" * size))
    assert reader.received == ["x" * size]


def test_any_masking_key_unmasks():
    """Keys of zeros, of ones and of different bytes."""
    for key in (bytes(4), b"\xff" * 4, b"\x01\x02\x03\x04"):
        masked = bytes(byte ^ key[at % 4] for at, byte in enumerate(b"hello, all"))
        reader = RecordingReader()
        reader.feed(frame_header(FIN | TEXT, 10)[:-4] + key + masked)
        assert reader.received == ["hello, all"]


def test_control_frames_may_interleave_fragments():
    """A ping between two fragments is handled before the message. Source: RFC 6455 section 5.4."""
    reader = RecordingReader()
    reader.feed(
        frame(b"one ", fin=False)
        + frame(b"?", PING)
        + frame(b"two ", CONTINUATION, fin=False)
        + frame(b"", PONG)
        + frame(b"three", CONTINUATION)
        + frame(b"four")
    )
    assert reader.received == [(PING, b"?"), (PONG, b""), "one two three", "four"]


def test_a_character_may_span_fragments():
    """Only the complete message has to be valid UTF-8."""
    reader = RecordingReader()
    raw = "é€😀".encode()
    reader.feed(frame(raw[:1], fin=False) + frame(raw[1:4], CONTINUATION, fin=False))
    reader.feed(frame(raw[4:], CONTINUATION))
    assert reader.received == ["é€😀"]


STREAM = (
    frame(b'42/rider,["location_update",{"lat":1,"lng":2}]')
    + frame(b"", PING)
    + frame("é".encode() * 70)
    + frame(b"a", fin=False)
    + frame(b"ping", PING)
    + frame(b"", CONTINUATION, fin=False)
    + frame(b"b" * 200, CONTINUATION)
    + frame(b"")
    + frame(b"\x03\xe8bye", CLOSE)
)


def test_a_stream_reads_the_same_wherever_it_is_split():
    """TCP keeps no frame boundaries; every split into two reads is tried."""
    whole = RecordingReader()
    whole.feed(STREAM)
    assert len(whole.received) == 7
    for cut in range(len(STREAM) + 1):
        reader = RecordingReader()
        reader.feed(STREAM[:cut])
        reader.feed(STREAM[cut:])
        assert reader.received == whole.received, cut


def test_a_stream_may_come_byte_by_byte():
    """One byte per read gives the same frames."""
    whole, reader = RecordingReader(), RecordingReader()
    whole.feed(STREAM)
    for at in range(len(STREAM)):
        reader.feed(STREAM[at : at + 1])
    assert reader.received == whole.received


MESSAGES = st.lists(
    st.one_of(
        st.lists(st.text(max_size=300), min_size=1, max_size=4),
        st.tuples(st.sampled_from((PING, PONG)), st.binary(max_size=125)),
    ),
    max_size=6,
)


def encode(message: "list[str] | tuple[int, bytes]") -> bytes:
    if isinstance(message, tuple):
        return frame(message[1], message[0])
    fragments = [text.encode() for text in message]
    last = len(fragments) - 1
    return b"".join(
        frame(fragment, CONTINUATION if at else TEXT, fin=at == last)
        for at, fragment in enumerate(fragments)
    )


@settings(max_examples=300, deadline=None)
@given(MESSAGES, st.data())
def test_any_messages_in_any_chunks_are_read_back(
    messages: "list[list[str] | tuple[int, bytes]]", data: st.DataObject
):
    """Each message, fragmented or not, is read once and in order."""
    stream = b"".join(map(encode, messages))
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=12))
    reader = RecordingReader()
    for start, end in pairwise([0, *sorted(cuts), len(stream)]):
        reader.feed(stream[start:end])
    while reader.has_unread_frames:
        reader.feed(b"")
    expected = [each if isinstance(each, tuple) else "".join(each) for each in messages]
    assert reader.received == expected


@settings(max_examples=500, deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=8), st.binary(max_size=60))
def test_random_bytes_are_refused_or_bounded(chunks: list[bytes], tail: bytes):
    """Only protocol violations are raised, and kept input is bounded by message size and header."""
    reader = RecordingReader(64)
    refusals: list[int] = []
    for chunk in (frame(b"ok"), *chunks, tail):
        try:
            reader.feed(chunk)
        except ProtocolViolation as violation:
            refusals.append(violation.code)
            reader.discard_input()
    assert reader.received[0] == "ok"
    assert set(refusals) <= {PROTOCOL_ERROR, UNSUPPORTED_DATA, INVALID_PAYLOAD, MESSAGE_TOO_BIG}
    assert reader.unread_bytes <= 64 + 14
    assert reader.fragment_bytes <= 64


# Protocol violations.

REFUSED = {
    "unmasked": (frame_header(FIN | TEXT, 2, masked=False) + b"hi", PROTOCOL_ERROR),
    "unmasked ping": (frame_header(FIN | PING, 0, masked=False), PROTOCOL_ERROR),
    "reserved bit 1": (frame_header(FIN | 0x40 | TEXT, 0), PROTOCOL_ERROR),
    "reserved bit 2": (frame_header(FIN | 0x20 | TEXT, 0), PROTOCOL_ERROR),
    "reserved bit 3": (frame_header(FIN | 0x10 | PING, 0), PROTOCOL_ERROR),
    "opcode 3": (frame_header(FIN | 0x3, 0), PROTOCOL_ERROR),
    "opcode 7": (frame_header(FIN | 0x7, 0), PROTOCOL_ERROR),
    "opcode 11": (frame_header(FIN | 0xB, 0), PROTOCOL_ERROR),
    "opcode 15": (frame_header(FIN | 0xF, 0), PROTOCOL_ERROR),
    "binary": (frame(b"x", BINARY), UNSUPPORTED_DATA),
    "fragmented binary": (frame(b"x", BINARY, fin=False), UNSUPPORTED_DATA),
    "continuation without a first fragment": (frame(b"x", CONTINUATION), PROTOCOL_ERROR),
    "message inside a fragmented one": (frame(b"x", fin=False) + frame(b"y"), PROTOCOL_ERROR),
    "fragmented message inside another": (
        frame(b"x", fin=False) + frame(b"y", fin=False),
        PROTOCOL_ERROR,
    ),
    "continuation after the last fragment": (
        frame(b"x", fin=False) + frame(b"y", CONTINUATION) + frame(b"z", CONTINUATION),
        PROTOCOL_ERROR,
    ),
    "fragmented ping": (frame(b"", PING, fin=False), PROTOCOL_ERROR),
    "fragmented close": (frame(b"", CLOSE, fin=False), PROTOCOL_ERROR),
    "long ping": (frame_header(FIN | PING, 126), PROTOCOL_ERROR),
    "long close": (frame_header(FIN | CLOSE, 70_000), PROTOCOL_ERROR),
    "16 bits for a 7-bit length": (frame_header(FIN | TEXT, 125, length_size=2), PROTOCOL_ERROR),
    "64 bits for a 7-bit length": (frame_header(FIN | TEXT, 5, length_size=8), PROTOCOL_ERROR),
    "64 bits for a 16-bit length": (
        frame_header(FIN | TEXT, 0xFFFF, length_size=8),
        PROTOCOL_ERROR,
    ),
    "64 bits with the sign bit set": (
        frame_header(FIN | TEXT, 1 << 63, length_size=8),
        PROTOCOL_ERROR,
    ),
    "invalid UTF-8": (frame(b"\xff\xfe"), INVALID_PAYLOAD),
    "encoded surrogate": (frame(b"\xed\xa0\x80"), INVALID_PAYLOAD),
    "overlong encoding": (frame(b"\xc0\xaf"), INVALID_PAYLOAD),
    "incomplete character": (frame("é".encode()[:1]), INVALID_PAYLOAD),
    "invalid UTF-8 over two fragments": (
        frame(b"\xc3", fin=False) + frame(b"x", CONTINUATION),
        INVALID_PAYLOAD,
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_violation_is_refused_with_its_code(name: str):
    """Each kind of violation has its close code. Source: RFC 6455 sections 5 and 7.4.1."""
    data, code = REFUSED[name]
    assert close_code(data) == code


@pytest.mark.parametrize("name", REFUSED)
def test_a_violation_is_refused_byte_by_byte(name: str):
    """Splitting the stream does not hide a violation."""
    data, code = REFUSED[name]
    reader, codes = RecordingReader(), list[int]()
    for at in range(len(data)):
        try:
            reader.feed(data[at : at + 1])
        except ProtocolViolation as violation:
            codes.append(violation.code)
            reader.discard_input()
    assert codes == [code]


def test_a_frame_is_refused_by_its_first_two_bytes():
    """Length, key and payload are not waited for."""
    assert close_code(bytes((FIN | TEXT, 5))) == PROTOCOL_ERROR
    assert close_code(bytes((FIN | BINARY, MASK_BIT | 5))) == UNSUPPORTED_DATA


@pytest.mark.parametrize("size", [101, 125, 126, 65_535, 65_536, 1 << 62])
def test_a_long_frame_is_refused_by_its_header(size: int):
    """The payload is not waited for."""
    assert close_code(frame_header(FIN | TEXT, size), message_bytes_max=100) == MESSAGE_TOO_BIG


def test_a_fragmented_message_is_bounded():
    """Fragments that exceed the limit together are refused; up to the limit they are read."""
    fragments = [frame(b"x" * 60, fin=False), frame(b"y" * 41, CONTINUATION)]
    assert close_code(*fragments, message_bytes_max=100) == MESSAGE_TOO_BIG
    reader = RecordingReader(100)
    reader.feed(frame(b"x" * 60, fin=False) + frame(b"y" * 40, CONTINUATION))
    assert reader.received == ["x" * 60 + "y" * 40]


def test_frames_before_a_violation_are_read():
    """Frames behind the violation are not read."""
    reader = RecordingReader()
    with pytest.raises(ProtocolViolation):
        reader.feed(frame(b"one") + frame(b"two") + frame(b"", BINARY) + frame(b"three"))
    assert reader.received == ["one", "two"]


def test_a_handler_may_discard_the_remaining_input():
    """After `discard_input` in a handler, the rest of the read and later reads are dropped."""
    reader = RecordingReader()

    def discard(text: str) -> None:
        reader.received.append(text)
        reader.discard_input()

    reader.on_text = discard
    reader.feed(frame(b"one") + frame(b"two") + b"\x00" + MASKING_KEY)
    reader.feed(frame(b"three"))
    assert reader.received == ["one"]
    assert reader.unread_bytes == 0
