"""The values that results list for a text are those that the program has."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Any

import pytest

from camd.api import result_fields
from camd.contract.camera_results import CameraInfo, StreamAddress
from camd.contract.device_results import ControlInfo, DeviceInfo
from camd.contract.recording_results import (
    RecordingStatus,
    RecordingUpdate,
    RunningFile,
    SessionInfo,
    StartedRecording,
)
from camd.contract.snapshot_results import SnapshotInfo, TakenSnapshot
from camd.contract.storage_results import KeptFile, PolicyInfo, StorageInfo
from camd.contract.system_results import AuthenticationResult
from camd.model import (
    ControlKind,
    MatchedBy,
    PublicationState,
    RecordingEventKind,
    SegmentState,
    SessionState,
    StorageLevel,
)
from camd.rpc.openrpc import schemas_of
from camd.rpc.roles import AuthMethod, Role
from camd.snapshots.rules.snapshot_names import FORMATS
from camd.storage.rules.retention_plan import KeptReason, PolicyType


def values(of: Iterable[enum.Enum]) -> set[str]:
    """Return the values of an enumeration."""
    return {str(each.value) for each in of}


def listed(kind: type, name: str) -> set[str]:
    """Return the values that a field lists, as the OpenRPC document has them."""
    schema: dict[str, Any] = schemas_of((kind,))[1][kind.__name__]["properties"][name]
    for part in (schema, schema.get("items", {}), *schema.get("anyOf", ())):
        if "enum" in part:
            return set(part["enum"])
    raise AssertionError(f"{kind.__name__}.{name} lists no values")


@pytest.mark.parametrize(
    ("kind", "name", "wanted"),
    [
        (AuthenticationResult, "auth_method", values(AuthMethod)),
        (AuthenticationResult, "permissions", set(Role.ADMIN.permissions)),
        (AuthenticationResult, "role", values(Role)),
        (CameraInfo, "status", {"CONNECTED", *result_fields.CONNECTION.values()}),
        (ControlInfo, "type", values(ControlKind)),
        (DeviceInfo, "recognised_by", values(MatchedBy)),
        (KeptFile, "reason", values(KeptReason)),
        (PolicyInfo, "policy_type", values(PolicyType)),
        (RecordingStatus, "status", values(SessionState)),
        (RecordingUpdate, "status", values(RecordingEventKind)),
        (RunningFile, "status", values(SegmentState)),
        (SessionInfo, "status", values(SessionState)),
        (SnapshotInfo, "format", set(FORMATS)),
        (StartedRecording, "status", {"STARTED"}),
        (StorageInfo, "threshold_status", set(map(result_fields.threshold_status, StorageLevel))),
        (StreamAddress, "state", values(PublicationState)),
        (TakenSnapshot, "format", set(FORMATS)),
    ],
)
def test_listed_values_are_those_of_the_program(kind: type, name: str, wanted: set[str]) -> None:
    """None is missing, and none is listed that is never sent."""
    assert listed(kind, name) == wanted
