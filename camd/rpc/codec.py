"""Decode JSON-RPC 2.0 messages into calls and encode answers; no input makes it raise.

An id is kept as the JSON text that the client wrote, so that `1.0`, 30-digit numbers and escapes
are sent back unchanged.
"""

from __future__ import annotations

import re
from itertools import accumulate
from typing import Any

import attrs
import msgspec

from camd.errors import INVALID_PARAMS, INVALID_REQUEST, PARSE_ERROR, RATE_LIMITED, Refusal
from camd.rpc.registry import Notification

MAX_BATCH = 50
MAX_ID_BYTES = 256
MAX_DEPTH = 64  # of arrays and objects in each other, the message itself included
NO_ID = b"null"
_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_NO_BRACKET = re.compile(r"[^\[\]{}]+")
_STEPS = {"[": 1, "{": 1, "]": -1, "}": -1}


class _Envelope(msgspec.Struct):
    jsonrpc: Any = None
    method: Any = None
    params: Any = msgspec.UNSET
    id: msgspec.Raw = msgspec.Raw(b"")


_decode_one = msgspec.json.Decoder(_Envelope).decode
_decode_batch = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_id = msgspec.json.Decoder(str | int | float | None).decode
_encode = msgspec.json.Encoder().encode
_encode_leniently = msgspec.json.Encoder(enc_hook=str).encode  # encoding an error never fails


@attrs.frozen
class Call:
    """One call. `id` is the JSON text of the id; None: a notification, which gets no answer."""

    id: bytes | None
    method: str
    params: dict[str, Any]


@attrs.frozen
class BadCall:
    """An invalid request, and the refusal with which it is answered."""

    id: bytes | None  # None: a notification, which gets no answer
    refusal: Refusal


@attrs.frozen
class Incoming:
    """The calls of one message; a batch is answered by one array."""

    calls: tuple[Call | BadCall, ...]
    batch: bool = False


def decode_message(message: str | bytes) -> Incoming:
    """Decode one message. Never raises: an invalid message gives a `BadCall`."""
    try:
        text = message if isinstance(message, str) else message.decode("utf-8")
        if _too_deep(text):
            message = f"Parse error: nested deeper than {MAX_DEPTH} levels"
            return _unreadable(Refusal(PARSE_ERROR, message, limit=MAX_DEPTH))
        if text[:64].lstrip(" \t\r\n")[:1] == "[":
            return _batch(_decode_batch(text))
        return Incoming((_call(_decode_one(text)),))
    except msgspec.ValidationError as error:  # valid JSON, but not a request
        return _unreadable(Refusal(INVALID_REQUEST, f"Invalid Request: {error}"))
    except (msgspec.DecodeError, UnicodeError) as error:
        return _unreadable(Refusal(PARSE_ERROR, f"Parse error: {_reason(error)}"))


def _too_deep(text: str) -> bool:
    """Whether brackets outside of strings are open in each other more than MAX_DEPTH times."""
    if text.count("[") + text.count("{") <= MAX_DEPTH:  # of nearly all messages
        return False
    brackets = _NO_BRACKET.sub("", _STRING.sub("", text))
    return max(accumulate(map(_STEPS.__getitem__, brackets)), default=0) > MAX_DEPTH


def _reason(error: Exception) -> str:
    return "not valid UTF-8" if isinstance(error, UnicodeError) else str(error)


def _unreadable(refusal: Refusal) -> Incoming:
    return Incoming((BadCall(NO_ID, refusal),))


def _batch(parts: list[msgspec.Raw]) -> Incoming:
    if not parts:
        return _unreadable(Refusal(INVALID_REQUEST, "Invalid Request: empty batch"))
    if len(parts) > MAX_BATCH:
        message = f"Invalid Request: more than {MAX_BATCH} calls in one batch"
        return _unreadable(Refusal(INVALID_REQUEST, message, limit=MAX_BATCH))
    return Incoming(tuple(_batched(part) for part in parts), batch=True)


def _batched(part: msgspec.Raw) -> Call | BadCall:
    try:
        return _call(_decode_one(part))
    except msgspec.DecodeError as error:  # the batch as a whole was valid JSON
        return BadCall(NO_ID, Refusal(INVALID_REQUEST, f"Invalid Request: {error}"))


def _call(envelope: _Envelope) -> Call | BadCall:
    id_text = bytes(envelope.id) or None
    if id_text is not None and not _valid_id(id_text):
        return _invalid(NO_ID, "id must be a number or a short string")
    if envelope.jsonrpc != "2.0":
        return _invalid(id_text, 'jsonrpc must be "2.0"')
    method = envelope.method
    if type(method) is not str:
        return _invalid(id_text, "method must be a string")
    params = envelope.params
    if type(params) is dict:
        return Call(id_text, method, params)
    if params is msgspec.UNSET or params == []:
        return Call(id_text, method, {})
    if type(params) is list:
        message = "Invalid params: give them by name, in an object"
        return BadCall(id_text, Refusal(INVALID_PARAMS, message, errors=[]))
    if params is None:  # against the specification, but some clients send it
        return Call(id_text, method, {})
    return _invalid(id_text, "params must be an object")


def _valid_id(text: bytes) -> bool:
    if len(text) > MAX_ID_BYTES or text[:1] in b"[{tf":
        return False
    if text.isdigit():
        return True
    try:
        _decode_id(text)
    except msgspec.DecodeError:
        return False
    return True


def _invalid(id_text: bytes | None, why: str) -> BadCall:
    # By the specification, an invalid request is answered even when it has no id.
    return BadCall(id_text or NO_ID, Refusal(INVALID_REQUEST, f"Invalid Request: {why}"))


def encode_result(id_text: bytes, result: object) -> bytes:
    """Encode an answer. Raises TypeError or ValueError when JSON cannot hold the result."""
    return b'{"jsonrpc":"2.0","result":' + _encode(result) + b',"id":' + id_text + b"}"


def encode_refusal(id_text: bytes, refusal: Refusal, *, null_result: bool = False) -> bytes:
    """Encode an error; `null_result` adds the `"result": null` that older clients need."""
    error = _encode_leniently(
        {"code": refusal.kind.code, "message": refusal.message, "data": refusal.data},
    )
    result = b'"result":null,' if null_result else b""
    return b'{"jsonrpc":"2.0",' + result + b'"error":' + error + b',"id":' + id_text + b"}"


def encode_batch(answers: list[bytes]) -> bytes:
    """Join the answers to a batch into one array."""
    return b"[" + b",".join(answers) + b"]"


def encode_too_large(answer: bytes) -> bytes:
    """Encode an error in place of an answer that `encode_result` or `encode_refusal` has made."""
    id_text = answer[answer.rindex(b',"id":') + 6 : -1]  # a string in JSON has no bare quote
    message = "The answers to this batch are too large; make this call by itself"
    return encode_refusal(id_text, Refusal(RATE_LIMITED, message, retry_after_ms=0))


def encode_notification(notification: Notification) -> bytes:
    """Encode a notification."""
    return _encode({"jsonrpc": "2.0", "method": notification.method, "params": notification.params})
