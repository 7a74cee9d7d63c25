"""A refusal as the answer to an HTTP request: the data that a call would get, and a status."""

from __future__ import annotations

import math
from http import HTTPStatus

import msgspec
from starlette.responses import Response

from camd.errors import (
    CAMERA_UNKNOWN,
    FILE_NOT_FOUND,
    INVALID_PARAMS,
    RATE_LIMITED,
    RECORDING_FAILED,
    UNSUPPORTED,
    Refusal,
)

_STATUS = {
    INVALID_PARAMS: HTTPStatus.BAD_REQUEST,
    CAMERA_UNKNOWN: HTTPStatus.NOT_FOUND,
    FILE_NOT_FOUND: HTTPStatus.NOT_FOUND,
    RATE_LIMITED: HTTPStatus.TOO_MANY_REQUESTS,
    RECORDING_FAILED: HTTPStatus.BAD_GATEWAY,
    UNSUPPORTED: HTTPStatus.UNPROCESSABLE_ENTITY,
}

encode_json = msgspec.json.Encoder(enc_hook=str).encode


def refused_response(refusal: Refusal) -> Response:
    """Answer a refused request; 503 for what no other status is said of."""
    status = _STATUS.get(refusal.kind, HTTPStatus.SERVICE_UNAVAILABLE)
    body = {"error": refusal.message, "code": refusal.kind.code, "data": refusal.data}
    headers = {"Cache-Control": "no-store"}
    wait = refusal.details.get("retry_after_ms")
    if isinstance(wait, int):
        headers["Retry-After"] = str(math.ceil(wait / 1000))
    return Response(encode_json(body), status, headers, "application/json")
