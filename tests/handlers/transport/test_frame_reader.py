"""Which bytes of a client are understood, however they are cut, and which end the connection."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handlers.transport.frame_reader import (
    FRAMES_PER_TICK,
    INVALID_PAYLOAD,
    MESSAGE_TOO_BIG,
    PROTOCOL_ERROR,
    UNSUPPORTED_DATA,
    FrameReader,
    ProtocolViolation,
)
from tests.handlers.masked import (
    BINARY,
    CLOSE,
    CONTINUATION,
    FIN,
    MASKING_KEY,
    PING,
    PONG,
    TEXT,
    frame,
    frame_header,
)

MESSAGE_BYTES_MAX = 70_000


class RecordingReader(FrameReader):
    """A reader that notes what it tells."""

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
    """The code with which the last of the pieces is refused; none before it is."""
    reader = RecordingReader(message_bytes_max)
    for piece in chunks[:-1]:
        reader.feed(piece)
    with pytest.raises(ProtocolViolation) as broken:
        reader.feed(chunks[-1])
    return broken.value.code


# What is understood.


def test_frames_per_tick_are_bounded():
    """The rest waits in its order, and is there without another byte."""
    reader = RecordingReader()
    reader.feed(b"".join(frame(b"%d" % number) for number in range(2 * FRAMES_PER_TICK + 1)))
    assert (len(reader.received), reader.has_unread_frames) == (FRAMES_PER_TICK, True)
    reader.feed(b"")
    assert (len(reader.received), reader.has_unread_frames) == (2 * FRAMES_PER_TICK, True)
    reader.feed(frame(b"late"))
    assert reader.received == [*map(str, range(2 * FRAMES_PER_TICK + 1)), "late"]
    assert not reader.has_unread_frames


def test_fragments_are_counted():
    """Those without a byte too: a million of them make no message, and cost somebody's time."""
    reader = RecordingReader()
    reader.feed(frame(b"whole") + frame(b"a", TEXT, fin=False))
    reader.feed(frame(b"", CONTINUATION, fin=False) * 8 + frame(b"b", CONTINUATION))
    assert (reader.received, reader.fragment_count) == (["whole", "ab"], 10)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, MESSAGE_BYTES_MAX])
def test_a_text_of_any_length_is_read(size: int):
    """The length takes 7, 16 or 64 bits."""
    reader = RecordingReader()
    reader.feed(frame(b"x" * size))
    assert reader.received == ["x" * size]


def test_any_masking_key_unmasks():
    """What the client draws anew for each frame, zeros among it."""
    for key in (bytes(4), b"\xff" * 4, b"\x01\x02\x03\x04"):
        masked = bytes(byte ^ key[at % 4] for at, byte in enumerate(b"hello, all"))
        reader = RecordingReader()
        reader.feed(frame_header(FIN | TEXT, 10)[:-4] + key + masked)
        assert reader.received == ["hello, all"]


def test_control_frames_may_interleave_fragments():
    """A ping does not wait for the end of a long message. Source: RFC 6455 section 5.4."""
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
    """Only whole messages are text."""
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
    """TCP knows no frames: every single place is tried."""
    whole = RecordingReader()
    whole.feed(STREAM)
    assert len(whole.received) == 7
    for cut in range(len(STREAM) + 1):
        reader = RecordingReader()
        reader.feed(STREAM[:cut])
        reader.feed(STREAM[cut:])
        assert reader.received == whole.received, cut


def test_a_stream_may_come_byte_by_byte():
    """The slowest network."""
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
    parts = [part.encode() for part in message]
    last = len(parts) - 1
    return b"".join(
        frame(part, CONTINUATION if at else TEXT, fin=at == last) for at, part in enumerate(parts)
    )


@settings(max_examples=300, deadline=None)
@given(MESSAGES, st.data())
def test_any_messages_in_any_chunks_are_read_back(
    messages: "list[list[str] | tuple[int, bytes]]", data: st.DataObject
):
    """Whatever was said, in parts or whole, is heard once and in order."""
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
def test_random_bytes_are_refused_or_bounded(pieces: list[bytes], tail: bytes):
    """No bytes raise anything else, and what is kept is bounded by the longest message."""
    reader = RecordingReader(64)
    refusals: list[int] = []
    for piece in (frame(b"ok"), *pieces, tail):
        try:
            reader.feed(piece)
        except ProtocolViolation as broken:
            refusals.append(broken.code)
            reader.discard_input()
    assert reader.received[0] == "ok"
    assert set(refusals) <= {PROTOCOL_ERROR, UNSUPPORTED_DATA, INVALID_PAYLOAD, MESSAGE_TOO_BIG}
    assert len(reader._unread) <= 64 + 14
    assert len(reader._fragments or b"") <= 64


# What is not.

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
    "binary in parts": (frame(b"x", BINARY, fin=False), UNSUPPORTED_DATA),
    "goes on without a beginning": (frame(b"x", CONTINUATION), PROTOCOL_ERROR),
    "begins inside another": (frame(b"x", fin=False) + frame(b"y"), PROTOCOL_ERROR),
    "begins in parts inside another": (
        frame(b"x", fin=False) + frame(b"y", fin=False),
        PROTOCOL_ERROR,
    ),
    "goes on after its end": (
        frame(b"x", fin=False) + frame(b"y", CONTINUATION) + frame(b"z", CONTINUATION),
        PROTOCOL_ERROR,
    ),
    "ping in parts": (frame(b"", PING, fin=False), PROTOCOL_ERROR),
    "close in parts": (frame(b"", CLOSE, fin=False), PROTOCOL_ERROR),
    "long ping": (frame_header(FIN | PING, 126), PROTOCOL_ERROR),
    "long close": (frame_header(FIN | CLOSE, 70_000), PROTOCOL_ERROR),
    "16 bits for 7": (frame_header(FIN | TEXT, 125, length_size=2), PROTOCOL_ERROR),
    "64 bits for 7": (frame_header(FIN | TEXT, 5, length_size=8), PROTOCOL_ERROR),
    "64 bits for 16": (frame_header(FIN | TEXT, 0xFFFF, length_size=8), PROTOCOL_ERROR),
    "the sign of 64 bits": (frame_header(FIN | TEXT, 1 << 63, length_size=8), PROTOCOL_ERROR),
    "no text": (frame(b"\xff\xfe"), INVALID_PAYLOAD),
    "a surrogate": (frame(b"\xed\xa0\x80"), INVALID_PAYLOAD),
    "overlong": (frame(b"\xc0\xaf"), INVALID_PAYLOAD),
    "half a character": (frame("é".encode()[:1]), INVALID_PAYLOAD),
    "no text in parts": (frame(b"\xc3", fin=False) + frame(b"x", CONTINUATION), INVALID_PAYLOAD),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_violation_is_refused_with_its_code(name: str):
    """The code says how. Source: RFC 6455 sections 5 and 7.4.1."""
    said, code = REFUSED[name]
    assert close_code(said) == code


@pytest.mark.parametrize("name", REFUSED)
def test_a_violation_is_refused_byte_by_byte(name: str):
    """A cut does not hide it."""
    said, code = REFUSED[name]
    reader, codes = RecordingReader(), list[int]()
    for at in range(len(said)):
        try:
            reader.feed(said[at : at + 1])
        except ProtocolViolation as broken:
            codes.append(broken.code)
            reader.discard_input()
    assert codes == [code]


def test_a_frame_is_refused_by_its_first_two_bytes():
    """Nobody has to wait for a length or a key that cannot help."""
    assert close_code(bytes((FIN | TEXT, 5))) == PROTOCOL_ERROR
    assert close_code(bytes((FIN | BINARY, 0x80 | 5))) == UNSUPPORTED_DATA


@pytest.mark.parametrize("size", [101, 125, 126, 65_535, 65_536, 1 << 62])
def test_a_long_frame_is_refused_by_its_header(size: int):
    """Its payload is not waited for."""
    assert close_code(frame_header(FIN | TEXT, size), message_bytes_max=100) == MESSAGE_TOO_BIG


def test_a_fragmented_message_is_bounded():
    """Many short frames make no long message either."""
    parts = [frame(b"x" * 60, fin=False), frame(b"y" * 41, CONTINUATION)]
    assert close_code(*parts, message_bytes_max=100) == MESSAGE_TOO_BIG
    reader = RecordingReader(100)
    reader.feed(frame(b"x" * 60, fin=False) + frame(b"y" * 40, CONTINUATION))
    assert reader.received == ["x" * 60 + "y" * 40]


def test_frames_before_a_violation_are_read():
    """And nothing that comes after it is."""
    reader = RecordingReader()
    with pytest.raises(ProtocolViolation):
        reader.feed(frame(b"one") + frame(b"two") + frame(b"", BINARY) + frame(b"three"))
    assert reader.received == ["one", "two"]


def test_a_handler_may_discard_the_remaining_input():
    """A command may cut its own connection; the frames behind it are thrown away."""
    reader = RecordingReader()

    def end(text: str) -> None:
        reader.received.append(text)
        reader.discard_input()

    reader.on_text = end
    reader.feed(frame(b"one") + frame(b"two") + b"\x00" + MASKING_KEY)
    reader.feed(frame(b"three"))
    assert reader.received == ["one"]
    assert reader._unread == b""
