"""Read a stream of fragments of one frame by comparison with those that came before.

Each fragment is compared with the forms that are known (`frame_forms`); what is of none of them is
read by the full reader, and becomes another form where it can.
"""

from __future__ import annotations

from camd.mp4.boxes import MediaError
from camd.mp4.fragments import Fragment, FragmentReader, Init
from camd.mp4.frames.frame_forms import LONGEST_HEAD, MDAT_HEADER_SIZE, FrameForm

MAX_FORMS = 16  # of one stream; the one that was used the longest ago is forgotten

_Data = bytearray | memoryview


class FrameFragmentReader:
    """Parse a fragmented MP4 as `FragmentReader` does, with the same results and errors.

    A fragment of one frame that is of a known form takes a fraction of the time.
    """

    def __init__(self) -> None:
        self._full = FragmentReader()
        self._buffer = bytearray()  # the begin of a fragment whose rest has not come
        self._needed = 1  # buffered bytes needed before the next step
        self._left = 0  # bytes of the present box, for the full reader
        self._reference = b""  # the `prft` right before the present box
        self._init: Init | None = None
        self._forms: list[FrameForm] = []  # MAX_FORMS at most, the latest used first
        self._error: MediaError | None = None
        self.compared = 0  # fragments that were read by comparison

    def feed(self, chunk: bytes | bytearray | memoryview) -> list[Init | Fragment]:
        """Take the next bytes; return the init and fragments that they complete.

        Raises MediaError; complete fragments before the error are returned first, and the next
        call raises.
        """
        if self._error is not None:
            raise self._error
        events: list[Init | Fragment] = []
        left = memoryview(chunk)
        try:
            while self._buffer and left:
                missing = self._needed - len(self._buffer)
                self._buffer += left[:missing]
                left = left[missing:]
                del self._buffer[: self._read_all(self._buffer, events)]
            self._buffer += left[self._read_all(left, events) :]
        except MediaError as error:
            self._error = error
            if not events:
                raise
        return events

    def close(self) -> list[Init | Fragment]:
        """End the stream. Raises MediaError when it ends inside a fragment."""
        if self._error is not None:
            raise self._error
        rest, self._buffer = self._full.feed(self._buffer), bytearray()
        return rest + self._full.close()

    def _read_all(self, data: _Data, events: list[Init | Fragment]) -> int:
        """Read what is complete in `data`; return how many bytes that is.

        `_needed` bytes have to be there from then on before the next step.
        """
        at = 0
        while len(data) - at >= self._needed:
            at += self._step(data, at, events)
        return at

    def _step(self, data: _Data, at: int, events: list[Init | Fragment]) -> int:
        """Read a fragment, or hand a piece to the full reader; return how many bytes it has.

        0: `_needed` bytes have to be there first.
        """
        self._needed = 1
        if not self._left:
            taken = self._read_alike(data, at, events) if self._full.between_fragments else None
            if taken is not None:
                return taken
            self._left = self._box_size(data, at)
            if not self._left:
                return 0
            self._note_reference(data, at)
        size = min(self._left, len(data) - at)
        self._left -= size
        self._read_fully(data[at : at + size], events)
        return size

    # --- by comparison ---

    def _read_alike(self, data: _Data, at: int, events: list[Init | Fragment]) -> int | None:
        """Read a fragment of a known form; return how many bytes it has.

        0: it is of a known form as far as it is there. None: it is of none.
        """
        for number, form in enumerate(self._forms):
            begin = data[at : at + form.head_size]
            if not form.is_begun_by(begin):
                continue
            if len(begin) < form.head_size:
                self._needed = form.head_size
                return 0
            numbers = form.numbers_at(data, at)
            size = form.size_of(numbers)
            if size is None:
                continue
            if len(data) - at < size:
                self._needed = size
                return 0
            if number:  # the next one is likely to be of the same form
                self._forms.insert(0, self._forms.pop(number))
            with memoryview(data)[at : at + size] as whole:
                events.append(form.fragment(numbers, whole))
            self.compared += 1
            return size
        return None

    # --- by the full reader ---

    def _box_size(self, data: _Data, at: int) -> int:
        """Return how much the full reader takes next: one box; a short one when all of it is there.

        0: more bytes are needed. What is no box it gets as well, and says why it is none.
        """
        available = len(data) - at
        if available < 8:
            self._needed = 8
            return 0
        size = int.from_bytes(data[at : at + 4], "big")
        if size == 1:
            if available < 16:
                self._needed = 16
                return 0
            size = int.from_bytes(data[at + 8 : at + 16], "big")
            return size if size >= 16 else available
        if available < size <= LONGEST_HEAD:
            self._needed = size
            return 0
        return size if size >= 8 else available

    def _note_reference(self, data: _Data, at: int) -> None:
        """Keep a `prft` until the `mdat` behind it; `at` is where a box begins."""
        kind = bytes(data[at + 4 : at + 8])
        if kind not in (b"moof", b"mdat"):
            whole = kind == b"prft" and self._left <= LONGEST_HEAD
            self._reference = bytes(data[at : at + self._left]) if whole else b""

    def _read_fully(self, piece: _Data, events: list[Init | Fragment]) -> None:
        """Hand a box, or a piece of one, to the full reader; learn the form of a fragment."""
        found = self._full.feed(piece)
        events += found
        for event in found:
            if isinstance(event, Init):
                self._init = event
            else:
                self._learn(event)

    def _learn(self, fragment: Fragment) -> None:
        """Remember the form of a fragment that was of no known one."""
        assert self._init is not None
        head = self._reference + fragment.moof + fragment.mdat[:MDAT_HEADER_SIZE]
        self._reference = b""
        form = FrameForm.of(head, fragment, self._init)
        if form is not None:
            self._forms = [form, *self._forms][:MAX_FORMS]
