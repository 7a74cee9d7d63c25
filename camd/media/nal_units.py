"""How H.264 and H.265 samples split into NAL units, and how the fields inside are coded.

ITU-T H.264 clauses 7.3 and 9.1, ITU-T H.265 clauses 7.3 and 9.2, ISO/IEC 14496-15 clause 5.3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import attrs

from camd.media.boxes import MediaError

Read = Callable[[int, int], bytes]  # offset, size -> bytes; fewer at the end

MAX_NAL_UNITS = 4096  # of one sample
_FIELDS_SIZE = 4096  # bytes of a NAL unit in which its fields are looked for
_AHEAD = 2048  # read at once: parameter sets, messages and the head of the first slice


class NalError(MediaError):
    """Bytes that are not NAL units with their lengths, or a NAL unit that ends too early."""


@attrs.frozen
class NalUnit:
    """Where a NAL unit lies: `size` bytes from `start`, beginning with `header`."""

    start: int
    size: int
    header: int  # its first byte


def walk(read: Read, start: int, size: int, length_size: int) -> Iterator[NalUnit]:
    """Follow the lengths of one sample's NAL units; reads only the head of each.

    Raises NalError when they do not fill the sample exactly, and what `read` raises.
    """
    at, end = start, start + size
    ahead, ahead_at = b"", start
    for _ in range(MAX_NAL_UNITS):
        if at == end:
            return
        if at + length_size + 1 > ahead_at + len(ahead):
            ahead, ahead_at = read(at, min(_AHEAD, end - at)), at
        head = ahead[at - ahead_at : at - ahead_at + length_size + 1]
        length = int.from_bytes(head[:length_size], "big")
        at += length_size
        if len(head) <= length_size or length == 0 or at + length > end:
            raise NalError("a sample is not a sequence of NAL units")
        yield NalUnit(at, length, head[-1])
        at += length
    if at != end:
        raise NalError(f"a sample of more than {MAX_NAL_UNITS} NAL units")


def read_from(data: bytes) -> Read:
    """Read from bytes in memory."""
    return lambda offset, size: data[offset : offset + size]


class BitFields:
    """Reads the fields of a NAL unit one by one, without its emulation prevention bytes.

    Every method raises NalError when the unit ends before the field does.
    """

    def __init__(self, nal: bytes) -> None:
        # 7.4.1: of the bytes 0, 0, 3 the last one was put in by the encoder.
        data = nal[:_FIELDS_SIZE].replace(b"\x00\x00\x03", b"\x00\x00")
        self._bits = int.from_bytes(data, "big")
        self._size = self._left = 8 * len(data)

    def take(self, count: int) -> int:
        """Read an unsigned number of `count` bits: u(n)."""
        if count > self._left:
            raise NalError("a parameter set is cut short")
        self._left -= count
        return self._bits >> self._left & ((1 << count) - 1)

    def flag(self) -> bool:
        """Read one bit."""
        return self.take(1) == 1

    def skip(self, count: int) -> None:
        """Pass over `count` bits."""
        self.take(count)

    def number(self) -> int:
        """Read an unsigned Exp-Golomb number: ue(v)."""
        zeros = 0
        while not self.flag():
            zeros += 1
            if zeros > 32:
                raise NalError("a number in a parameter set is too large")
        return (1 << zeros) - 1 + self.take(zeros)

    def signed(self) -> int:
        """Read a signed Exp-Golomb number: se(v)."""
        coded = self.number()
        return (coded + 1) // 2 if coded % 2 else -(coded // 2)

    def consumed(self) -> tuple[int, int]:
        """Return how many bits were read, and what they are, for comparing."""
        return self._size - self._left, self._bits >> self._left
