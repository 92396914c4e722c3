"""Which bytes of a client are understood, however they are cut, and which end the connection."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handlers.transport.frame_reader import (
    FRAMES_AT_ONCE,
    NOT_TEXT,
    PROTOCOL_ERROR,
    TOO_BIG,
    UNSUPPORTED,
    Broken,
    Reader,
)
from tests.handlers.masked import (
    BINARY,
    CLOSE,
    CONTINUATION,
    FIN,
    KEY,
    PING,
    PONG,
    TEXT,
    frame,
    head,
)

MOST = 70_000


class Told(Reader):
    """A reader that notes what it tells."""

    def __init__(self, most: int = MOST) -> None:
        super().__init__(most)
        self.told: list[str | tuple[int, bytes]] = []
        self.hear = self.told.append
        self.fragments = 0

    def on_control(self, opcode: int, payload: bytes) -> None:
        self.told.append((opcode, payload))

    def on_fragment(self) -> None:
        self.fragments += 1


def code_of(*pieces: bytes, most: int = MOST) -> int:
    """The code with which the last of the pieces is refused; none before it is."""
    reader = Told(most)
    for piece in pieces[:-1]:
        reader.feed(piece)
    with pytest.raises(Broken) as broken:
        reader.feed(pieces[-1])
    return broken.value.code


# What is understood.


def test_nobody_has_more_than_his_share_at_once():
    """The rest waits in its order, and is there without another byte."""
    reader = Told()
    reader.feed(b"".join(frame(b"%d" % number) for number in range(2 * FRAMES_AT_ONCE + 1)))
    assert (len(reader.told), reader.is_behind) == (FRAMES_AT_ONCE, True)
    reader.feed(b"")
    assert (len(reader.told), reader.is_behind) == (2 * FRAMES_AT_ONCE, True)
    reader.feed(frame(b"late"))
    assert reader.told == [*map(str, range(2 * FRAMES_AT_ONCE + 1)), "late"]
    assert not reader.is_behind


def test_parts_of_a_message_are_counted():
    """Those without a byte too: a million of them make no message, and cost somebody's time."""
    reader = Told()
    reader.feed(frame(b"whole") + frame(b"a", TEXT, fin=False))
    reader.feed(frame(b"", CONTINUATION, fin=False) * 8 + frame(b"b", CONTINUATION))
    assert (reader.told, reader.fragments) == (["whole", "ab"], 10)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, MOST])
def test_a_text_of_any_length_is_read(size: int):
    """The length takes 7, 16 or 64 bits."""
    reader = Told()
    reader.feed(frame(b"x" * size))
    assert reader.told == ["x" * size]


def test_every_key_unmasks():
    """What the client draws anew for each frame, zeros among it."""
    for key in (bytes(4), b"\xff" * 4, b"\x01\x02\x03\x04"):
        masked = bytes(byte ^ key[at % 4] for at, byte in enumerate(b"hello, all"))
        reader = Told()
        reader.feed(head(FIN | TEXT, 10)[:-4] + key + masked)
        assert reader.told == ["hello, all"]


def test_control_frames_stand_between_the_parts_of_a_message():
    """A ping does not wait for the end of a long message. Source: RFC 6455 section 5.4."""
    reader = Told()
    reader.feed(
        frame(b"one ", fin=False)
        + frame(b"?", PING)
        + frame(b"two ", CONTINUATION, fin=False)
        + frame(b"", PONG)
        + frame(b"three", CONTINUATION)
        + frame(b"four")
    )
    assert reader.told == [(PING, b"?"), (PONG, b""), "one two three", "four"]


def test_a_character_may_be_cut_by_a_fragment():
    """Only whole messages are text."""
    reader = Told()
    raw = "é€😀".encode()
    reader.feed(frame(raw[:1], fin=False) + frame(raw[1:4], CONTINUATION, fin=False))
    reader.feed(frame(raw[4:], CONTINUATION))
    assert reader.told == ["é€😀"]


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


def test_a_stream_means_the_same_wherever_it_is_cut_in_two():
    """TCP knows no frames: every single place is tried."""
    whole = Told()
    whole.feed(STREAM)
    assert len(whole.told) == 7
    for cut in range(len(STREAM) + 1):
        reader = Told()
        reader.feed(STREAM[:cut])
        reader.feed(STREAM[cut:])
        assert reader.told == whole.told, cut


def test_a_stream_may_come_byte_by_byte():
    """The slowest network."""
    whole, reader = Told(), Told()
    whole.feed(STREAM)
    for at in range(len(STREAM)):
        reader.feed(STREAM[at : at + 1])
    assert reader.told == whole.told


MESSAGES = st.lists(
    st.one_of(
        st.lists(st.text(max_size=300), min_size=1, max_size=4),
        st.tuples(st.sampled_from((PING, PONG)), st.binary(max_size=125)),
    ),
    max_size=6,
)


def sent(message: "list[str] | tuple[int, bytes]") -> bytes:
    if isinstance(message, tuple):
        return frame(message[1], message[0])
    parts = [part.encode() for part in message]
    last = len(parts) - 1
    return b"".join(
        frame(part, CONTINUATION if at else TEXT, fin=at == last) for at, part in enumerate(parts)
    )


@settings(max_examples=300, deadline=None)
@given(MESSAGES, st.data())
def test_any_messages_in_any_pieces_come_out_as_they_went_in(
    messages: "list[list[str] | tuple[int, bytes]]", data: st.DataObject
):
    """Whatever was said, in parts or whole, is heard once and in order."""
    stream = b"".join(map(sent, messages))
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=12))
    reader = Told()
    for start, end in pairwise([0, *sorted(cuts), len(stream)]):
        reader.feed(stream[start:end])
    while reader.is_behind:
        reader.feed(b"")
    expected = [each if isinstance(each, tuple) else "".join(each) for each in messages]
    assert reader.told == expected


@settings(max_examples=500, deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=8), st.binary(max_size=60))
def test_noise_is_refused_or_waits(pieces: list[bytes], tail: bytes):
    """No bytes raise anything else, and what is kept is bounded by the longest message."""
    reader = Told(64)
    refusals: list[int] = []
    for piece in (frame(b"ok"), *pieces, tail):
        try:
            reader.feed(piece)
        except Broken as broken:
            refusals.append(broken.code)
            reader.forget()
    assert reader.told[0] == "ok"
    assert set(refusals) <= {PROTOCOL_ERROR, UNSUPPORTED, NOT_TEXT, TOO_BIG}
    assert len(reader._rest) <= 64 + 14
    assert len(reader._fragments or b"") <= 64


# What is not.

REFUSED = {
    "unmasked": (head(FIN | TEXT, 2, masked=False) + b"hi", PROTOCOL_ERROR),
    "unmasked ping": (head(FIN | PING, 0, masked=False), PROTOCOL_ERROR),
    "reserved bit 1": (head(FIN | 0x40 | TEXT, 0), PROTOCOL_ERROR),
    "reserved bit 2": (head(FIN | 0x20 | TEXT, 0), PROTOCOL_ERROR),
    "reserved bit 3": (head(FIN | 0x10 | PING, 0), PROTOCOL_ERROR),
    "opcode 3": (head(FIN | 0x3, 0), PROTOCOL_ERROR),
    "opcode 7": (head(FIN | 0x7, 0), PROTOCOL_ERROR),
    "opcode 11": (head(FIN | 0xB, 0), PROTOCOL_ERROR),
    "opcode 15": (head(FIN | 0xF, 0), PROTOCOL_ERROR),
    "binary": (frame(b"x", BINARY), UNSUPPORTED),
    "binary in parts": (frame(b"x", BINARY, fin=False), UNSUPPORTED),
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
    "long ping": (head(FIN | PING, 126), PROTOCOL_ERROR),
    "long close": (head(FIN | CLOSE, 70_000), PROTOCOL_ERROR),
    "16 bits for 7": (head(FIN | TEXT, 125, size=2), PROTOCOL_ERROR),
    "64 bits for 7": (head(FIN | TEXT, 5, size=8), PROTOCOL_ERROR),
    "64 bits for 16": (head(FIN | TEXT, 0xFFFF, size=8), PROTOCOL_ERROR),
    "the sign of 64 bits": (head(FIN | TEXT, 1 << 63, size=8), PROTOCOL_ERROR),
    "no text": (frame(b"\xff\xfe"), NOT_TEXT),
    "a surrogate": (frame(b"\xed\xa0\x80"), NOT_TEXT),
    "overlong": (frame(b"\xc0\xaf"), NOT_TEXT),
    "half a character": (frame("é".encode()[:1]), NOT_TEXT),
    "no text in parts": (frame(b"\xc3", fin=False) + frame(b"x", CONTINUATION), NOT_TEXT),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_breaks_the_protocol_is_refused(name: str):
    """The code says how. Source: RFC 6455 sections 5 and 7.4.1."""
    said, code = REFUSED[name]
    assert code_of(said) == code


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_byte_by_byte_too(name: str):
    """A cut does not hide it."""
    said, code = REFUSED[name]
    reader, codes = Told(), list[int]()
    for at in range(len(said)):
        try:
            reader.feed(said[at : at + 1])
        except Broken as broken:
            codes.append(broken.code)
            reader.forget()
    assert codes == [code]


def test_two_bytes_are_enough_to_refuse_a_frame():
    """Nobody has to wait for a length or a key that cannot help."""
    assert code_of(bytes((FIN | TEXT, 5))) == PROTOCOL_ERROR
    assert code_of(bytes((FIN | BINARY, 0x80 | 5))) == UNSUPPORTED


@pytest.mark.parametrize("size", [101, 125, 126, 65_535, 65_536, 1 << 62])
def test_a_long_frame_is_refused_by_its_head(size: int):
    """Its payload is not waited for."""
    assert code_of(head(FIN | TEXT, size), most=100) == TOO_BIG


def test_parts_are_bounded_together():
    """Many short frames make no long message either."""
    parts = [frame(b"x" * 60, fin=False), frame(b"y" * 41, CONTINUATION)]
    assert code_of(*parts, most=100) == TOO_BIG
    reader = Told(100)
    reader.feed(frame(b"x" * 60, fin=False) + frame(b"y" * 40, CONTINUATION))
    assert reader.told == ["x" * 60 + "y" * 40]


def test_what_came_before_a_broken_frame_was_heard():
    """And nothing that comes after it is."""
    reader = Told()
    with pytest.raises(Broken):
        reader.feed(frame(b"one") + frame(b"two") + frame(b"", BINARY) + frame(b"three"))
    assert reader.told == ["one", "two"]


def test_whoever_ends_it_while_he_listens_hears_no_more():
    """A command may cut its own connection; the frames behind it are thrown away."""
    reader = Told()

    def end(text: str) -> None:
        reader.told.append(text)
        reader.forget()

    reader.hear = end
    reader.feed(frame(b"one") + frame(b"two") + b"\x00" + KEY)
    reader.feed(frame(b"three"))
    assert reader.told == ["one"]
    assert reader._rest == b""
