"""Pure: refusals, and the one table of their kinds: JSON-RPC code, message, what to do.

Below `api`, code raises a `Refusal` of one of these kinds; only `rpc` and `server` turn it into an
answer.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs


@attrs.frozen
class ErrorKind:
    """One row of the table. `message` is for people and contains no device path."""

    code: int
    name: str
    message: str
    retryable: bool
    suggestion: str


PARSE_ERROR = ErrorKind(
    -32700, "parse_error", "Parse error", False, "Send one JSON object per text message, in UTF-8."
)
INVALID_REQUEST = ErrorKind(
    -32600,
    "invalid_request",
    "Invalid Request",
    False,
    'Send an object with "jsonrpc": "2.0", "method", and an "id" that is a number or a string.',
)
METHOD_NOT_FOUND = ErrorKind(
    -32601, "method_not_found", "Method not found", False, "Look the name up in the documentation."
)
INVALID_PARAMS = ErrorKind(
    -32602, "invalid_params", "Invalid params", False, "Correct the parameters named in errors."
)
INTERNAL_ERROR = ErrorKind(
    -32603,
    "internal_error",
    "Internal error",
    True,
    "Try again; if it stays, look for the traceback in the service's log.",
)
NOT_AUTHENTICATED = ErrorKind(
    -32001,
    "not_authenticated",
    "Authentication required",
    False,
    "Call authenticate with a valid token or API key first.",
)
RATE_LIMITED = ErrorKind(
    -32002,
    "rate_limited",
    "Rate limit exceeded",
    True,
    "Wait retry_after_ms, then send fewer requests.",
)
FORBIDDEN = ErrorKind(
    -32003, "forbidden", "Insufficient permissions", False, "Use a token with the required role."
)
CAMERA_UNKNOWN = ErrorKind(
    -32004,
    "camera_unknown",
    "Camera not found",
    False,
    "get_camera_list, or `camd status`, shows the ids that exist.",
)
SOURCE_UNAVAILABLE = ErrorKind(
    -32006,
    "source_unavailable",
    "The camera's source is not available",
    True,
    "Check that the camera is plugged in, powered and not used by another program.",
)
UNSUPPORTED = ErrorKind(
    -32008,
    "unsupported",
    "Format or capability not supported",
    False,
    "Ask for one of the supported values.",
)
RECORDING_FAILED = ErrorKind(
    -1003,
    "recording_failed",
    "Recording operation failed",
    True,
    "Look at the camera's status for the cause.",
)
FILE_NOT_FOUND = ErrorKind(
    -1005,
    "file_not_found",
    "File not found",
    False,
    "list_recordings, or `camd ls`, shows the names.",
)
ALREADY_RECORDING = ErrorKind(
    -1006,
    "already_recording",
    "Camera is currently recording",
    False,
    "Stop the running session first, or use it.",
)
STORAGE_LOW = ErrorKind(
    -1008,
    "storage_low",
    "Storage space is low",
    True,
    "Record for at most fits_seconds, or free space.",
)
STORAGE_CRITICAL = ErrorKind(
    -1010,
    "storage_critical",
    "Storage space is critical",
    True,
    "Free space on the recordings volume, or raise the block threshold.",
)
FILE_IN_USE = ErrorKind(
    -1011, "file_in_use", "The file is being recorded", True, "Wait until its session has ended."
)
FILE_PINNED = ErrorKind(
    -1012,
    "file_pinned",
    "The file is pinned",
    False,
    "unpin_recording, or `camd unpin`, removes the pin.",
)
FILE_LEASED = ErrorKind(
    -1013,
    "file_leased",
    "The file is being read",
    True,
    "Wait until its download or conversion has ended.",
)
STORAGE_MISSING = ErrorKind(
    -1014,
    "storage_missing",
    "The recordings folder is not there",
    True,
    "Mount the volume or create the folder that the configuration names.",
)
STORAGE_READ_ONLY = ErrorKind(
    -1015,
    "storage_read_only",
    "The recordings folder cannot be written",
    True,
    "Check the file system and the permissions of the recordings folder.",
)
STORAGE_UNRESPONSIVE = ErrorKind(
    -1016,
    "storage_unresponsive",
    "The recordings volume does not answer",
    True,
    "Check the disk's cabling and health; the service tries again by itself.",
)
STORAGE_NO_INODES = ErrorKind(
    -1017,
    "storage_no_inodes",
    "The recordings volume can hold hardly any more files",
    True,
    "Delete small files from the volume, or create its file system again with more inodes.",
)
STORAGE_FAILING = ErrorKind(
    -1018,
    "storage_failing",
    "Writing to the recordings volume fails",
    True,
    "Look at the kernel's log and the disk's health; writing is tried again every few seconds.",
)
REMOVAL_FAILED = ErrorKind(
    -1019,
    "removal_failed",
    "The file could not be removed",
    True,
    "Check the recordings volume and the folder's permissions; nothing else was changed.",
)
NOT_RECORDING = ErrorKind(
    -1020,
    "not_recording",
    "Camera is not recording",
    False,
    "get_camera_list, or `camd status`, shows which do.",
)
SHUTTING_DOWN = ErrorKind(
    -1021, "shutting_down", "The service is stopping", True, "Connect again in a moment."
)

CAMERA_LIMIT = ErrorKind(
    -1022,
    "camera_limit",
    "There are as many cameras as one service can have",
    False,
    "Forget one that is gone for good (`camd forget CAMERA`), or unplug or remove one.",
)

KEY_EXISTS = ErrorKind(
    -1023,
    "key_exists",
    "There is a key of this name already",
    False,
    "Choose another name, or revoke that key first.",
)
KEY_UNKNOWN = ErrorKind(
    -1024,
    "key_unknown",
    "There is no key of this name",
    False,
    "list_keys, or `camd keys list`, shows the names.",
)
KEY_LIMIT = ErrorKind(
    -1025,
    "key_limit",
    "There are as many keys as one service can have",
    False,
    "Revoke those that nobody uses any more.",
)
KEYS_UNUSABLE = ErrorKind(
    -1026,
    "keys_unusable",
    "The key file cannot be read or written",
    True,
    "Check its permissions and its disk; keys that were read before are valid.",
)

TABLE = tuple(kind for kind in list(globals().values()) if isinstance(kind, ErrorKind))


class Refusal(Exception):  # noqa: N818 - an answer, not an error of the program
    """The answer to a call that cannot be carried out.

    The keyword arguments `data` become the `data` of the error; their values must be what JSON
    can hold.
    """

    def __init__(
        self,
        kind: ErrorKind,
        message: str | None = None,
        *,
        suggestion: str | None = None,
        **data: object,
    ) -> None:
        super().__init__(message or kind.message)
        self.kind = kind
        self.message = message or kind.message
        self.suggestion = suggestion or kind.suggestion
        self.details = data

    @property
    def data(self) -> dict[str, object]:
        """The `data` of the error: the details, `retryable` and `suggestion`."""
        return {
            **self.details,
            "retryable": self.kind.retryable,
            "suggestion": self.suggestion,
        }

    def __repr__(self) -> str:
        return f"Refusal({self.kind.name}, {self.message!r}, {self.details!r})"


@attrs.frozen
class ParamMistake:
    """What is wrong with one parameter; `path` is the name that the client used."""

    path: str
    message: str


def invalid_params(*errors: ParamMistake) -> Refusal:
    """Make the refusal that lists what is wrong with each parameter."""
    text = "; ".join(f"{error.path} {error.message}".strip() for error in errors)
    listed = [{"path": error.path, "message": error.message} for error in errors]
    return Refusal(INVALID_PARAMS, f"Invalid params: {text}", errors=listed)


def wrong_param(
    path: str, message: str, *, suggestion: str | None = None, **data: object
) -> Refusal:
    """Make the refusal of a parameter that is well-formed, but does not fit the present state."""
    errors = [{"path": path, "message": message}]
    return Refusal(INVALID_PARAMS, message, suggestion=suggestion, errors=errors, **data)


def unsupported_format(
    name: str, supported: Sequence[str], *, suggestion: str | None = None
) -> Refusal:
    """Make the refusal of a format of files or pictures that is not one of `supported`."""
    return Refusal(
        UNSUPPORTED,
        f"Format not supported: {name[:40]}",
        suggestion=suggestion or f"Ask for one of {', '.join(supported)}.",
        supported=list(supported),
    )


def sole_exception(error: BaseException) -> BaseException:
    """Return the exception inside groups of one, in which nurseries wrap what they raise."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


class ConfigError(Exception):
    """The configuration has mistakes; each begins with its path (`cameras[1].fps: …`)."""

    def __init__(self, mistakes: tuple[str, ...]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes
