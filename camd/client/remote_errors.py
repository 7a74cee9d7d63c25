"""Errors with which the service answers: one class for each row of the table in `camd.errors`."""

from __future__ import annotations

from typing import Any, ClassVar

from camd import errors
from camd.errors import ErrorKind


class RemoteError(Exception):
    """The service answered a call with an error; also the class of kinds that are unknown here."""

    kind: ClassVar[ErrorKind | None] = None

    def __init__(self, code: int, message: str, data: dict[str, Any]) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data

    @property
    def retryable(self) -> bool:
        """Whether the same call may succeed later."""
        return self.data.get("retryable") is True

    @property
    def suggestion(self) -> str:
        """What to do, for people; may be empty."""
        return str(self.data.get("suggestion", ""))

    @property
    def errors(self) -> tuple[tuple[str, str], ...]:
        """Parameters and what is wrong with each, where that is known."""
        found = self.data.get("errors") or ()
        return tuple((str(e.get("path")), str(e.get("message"))) for e in found)


class ParseRefusedError(RemoteError):
    """The service could not read the message."""

    kind = errors.PARSE_ERROR


class InvalidRequestError(RemoteError):
    """The message was no request."""

    kind = errors.INVALID_REQUEST


class MethodNotFoundError(RemoteError):
    """The service has no such method."""

    kind = errors.METHOD_NOT_FOUND


class InvalidParamsError(RemoteError):
    """Parameters are wrong; `errors` names them."""

    kind = errors.INVALID_PARAMS


class InternalServiceError(RemoteError):
    """A bug in the service; its log has the details."""

    kind = errors.INTERNAL_ERROR


class NotAuthenticatedError(RemoteError):
    """The service needs a token or refused the one given; `data["reason"]` says why."""

    kind = errors.NOT_AUTHENTICATED


class RateLimitedError(RemoteError):
    """Too many calls; `data["retry_after_ms"]` says how long to wait."""

    kind = errors.RATE_LIMITED


class ForbiddenError(RemoteError):
    """The role of the token is too low."""

    kind = errors.FORBIDDEN


class CameraUnknownError(RemoteError):
    """There is no such camera."""

    kind = errors.CAMERA_UNKNOWN


class SourceUnavailableError(RemoteError):
    """The camera's source cannot be used; `data["cause"]` says why."""

    kind = errors.SOURCE_UNAVAILABLE


class UnsupportedError(RemoteError):
    """A format or capability that does not exist."""

    kind = errors.UNSUPPORTED


class RecordingFailedError(RemoteError):
    """Capture or recording failed; `data["cause"]` says why."""

    kind = errors.RECORDING_FAILED


class FileNotKnownError(RemoteError):
    """There is no file of this name."""

    kind = errors.FILE_NOT_FOUND


class AlreadyRecordingError(RemoteError):
    """The camera records already; `data["session_id"]` and `owner` say for whom."""

    kind = errors.ALREADY_RECORDING


class StorageLowError(RemoteError):
    """The recording does not fit; `data["fits_seconds"]` says what would."""

    kind = errors.STORAGE_LOW


class StorageCriticalError(RemoteError):
    """The recordings volume is as full as it may be."""

    kind = errors.STORAGE_CRITICAL


class FileInUseError(RemoteError):
    """The file is being recorded."""

    kind = errors.FILE_IN_USE


class FilePinnedError(RemoteError):
    """The file is pinned."""

    kind = errors.FILE_PINNED


class FileLeasedError(RemoteError):
    """The file is being read."""

    kind = errors.FILE_LEASED


class StorageMissingError(RemoteError):
    """The recordings volume is not there."""

    kind = errors.STORAGE_MISSING


class StorageReadOnlyError(RemoteError):
    """The recordings volume is read-only."""

    kind = errors.STORAGE_READ_ONLY


class StorageUnresponsiveError(RemoteError):
    """The recordings volume does not answer."""

    kind = errors.STORAGE_UNRESPONSIVE


class StorageNoInodesError(RemoteError):
    """The recordings volume can hold hardly any more files."""

    kind = errors.STORAGE_NO_INODES


class StorageFailingError(RemoteError):
    """Writing to the recordings volume fails."""

    kind = errors.STORAGE_FAILING


class RemovalFailedError(RemoteError):
    """The file could not be removed."""

    kind = errors.REMOVAL_FAILED


class NotRecordingError(RemoteError):
    """The camera is not recording."""

    kind = errors.NOT_RECORDING


class CameraLimitError(RemoteError):
    """There are as many cameras as one service can have; `data["max_cameras"]` says how many."""

    kind = errors.CAMERA_LIMIT


class KeyExistsError(RemoteError):
    """There is a key of this name already."""

    kind = errors.KEY_EXISTS


class KeyUnknownError(RemoteError):
    """There is no key of this name."""

    kind = errors.KEY_UNKNOWN


class KeyLimitError(RemoteError):
    """There are as many keys as one service can have."""

    kind = errors.KEY_LIMIT


class KeysUnusableError(RemoteError):
    """The service cannot read or write its key file."""

    kind = errors.KEYS_UNUSABLE


class ShuttingDownError(RemoteError):
    """The service is stopping."""

    kind = errors.SHUTTING_DOWN


_BY_CODE = {each.kind.code: each for each in RemoteError.__subclasses__() if each.kind is not None}


def remote_error(code: int, message: str, data: dict[str, Any]) -> RemoteError:
    """Make the error of the class that belongs to a code."""
    return _BY_CODE.get(code, RemoteError)(code, message, data)
