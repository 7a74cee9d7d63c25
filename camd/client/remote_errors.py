"""Errors with which the service answers: one class for each row of the table in `camd.errors`."""

from __future__ import annotations

from typing import Any, ClassVar

from camd import errors
from camd.errors import ErrorKind


class RemoteError(Exception):
    """The service answered a call with an error; also the class of kinds that are unknown here."""

    kind: ClassVar[ErrorKind | None] = None
    by_code: ClassVar[dict[int, type[RemoteError]]] = {}

    def __init_subclass__(cls, *, kind: ErrorKind) -> None:
        cls.kind = kind
        cls.by_code[kind.code] = cls

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


class ParseRefusedError(RemoteError, kind=errors.PARSE_ERROR):
    """The service could not read the message."""


class InvalidRequestError(RemoteError, kind=errors.INVALID_REQUEST):
    """The message was no request."""


class MethodNotFoundError(RemoteError, kind=errors.METHOD_NOT_FOUND):
    """The service has no such method."""


class InvalidParamsError(RemoteError, kind=errors.INVALID_PARAMS):
    """Parameters are wrong; `errors` names them."""


class InternalServiceError(RemoteError, kind=errors.INTERNAL_ERROR):
    """A bug in the service; its log has the details."""


class NotAuthenticatedError(RemoteError, kind=errors.NOT_AUTHENTICATED):
    """The service needs a token or refused the one given; `data["reason"]` says why."""


class RateLimitedError(RemoteError, kind=errors.RATE_LIMITED):
    """Too many calls; `data["retry_after_ms"]` says how long to wait."""


class ForbiddenError(RemoteError, kind=errors.FORBIDDEN):
    """The role of the token is too low."""


class CameraUnknownError(RemoteError, kind=errors.CAMERA_UNKNOWN):
    """There is no such camera."""


class SourceUnavailableError(RemoteError, kind=errors.SOURCE_UNAVAILABLE):
    """The camera's source cannot be used; `data["cause"]` says why."""


class UnsupportedError(RemoteError, kind=errors.UNSUPPORTED):
    """A format or capability that does not exist."""


class RecordingFailedError(RemoteError, kind=errors.RECORDING_FAILED):
    """Capture or recording failed; `data["cause"]` says why."""


class FileNotKnownError(RemoteError, kind=errors.FILE_NOT_FOUND):
    """There is no file of this name."""


class AlreadyRecordingError(RemoteError, kind=errors.ALREADY_RECORDING):
    """The camera records already; `data["session_id"]` and `owner` say for whom."""


class StorageLowError(RemoteError, kind=errors.STORAGE_LOW):
    """The recording does not fit; `data["fits_seconds"]` says what would."""


class StorageCriticalError(RemoteError, kind=errors.STORAGE_CRITICAL):
    """The recordings volume is as full as it may be."""


class FileInUseError(RemoteError, kind=errors.FILE_IN_USE):
    """The file is being recorded."""


class FilePinnedError(RemoteError, kind=errors.FILE_PINNED):
    """The file is pinned."""


class FileLeasedError(RemoteError, kind=errors.FILE_LEASED):
    """The file is being read."""


class StorageMissingError(RemoteError, kind=errors.STORAGE_MISSING):
    """The recordings volume is not there."""


class StorageReadOnlyError(RemoteError, kind=errors.STORAGE_READ_ONLY):
    """The recordings volume is read-only."""


class StorageUnresponsiveError(RemoteError, kind=errors.STORAGE_UNRESPONSIVE):
    """The recordings volume does not answer."""


class StorageNoInodesError(RemoteError, kind=errors.STORAGE_NO_INODES):
    """The recordings volume can hold hardly any more files."""


class StorageFailingError(RemoteError, kind=errors.STORAGE_FAILING):
    """Writing to the recordings volume fails."""


class RemovalFailedError(RemoteError, kind=errors.REMOVAL_FAILED):
    """The file could not be removed."""


class NotRecordingError(RemoteError, kind=errors.NOT_RECORDING):
    """The camera is not recording."""


class CameraLimitError(RemoteError, kind=errors.CAMERA_LIMIT):
    """There are as many cameras as one service can have; `data["max_cameras"]` says how many."""


class KeyExistsError(RemoteError, kind=errors.KEY_EXISTS):
    """There is a key of this name already."""


class KeyUnknownError(RemoteError, kind=errors.KEY_UNKNOWN):
    """There is no key of this name."""


class KeyLimitError(RemoteError, kind=errors.KEY_LIMIT):
    """There are as many keys as one service can have."""


class KeysUnusableError(RemoteError, kind=errors.KEYS_UNUSABLE):
    """The service cannot read or write its key file."""


class ShuttingDownError(RemoteError, kind=errors.SHUTTING_DOWN):
    """The service is stopping."""


def remote_error(code: int, message: str, data: dict[str, Any]) -> RemoteError:
    """Make the error of the class that belongs to a code."""
    return RemoteError.by_code.get(code, RemoteError)(code, message, data)
