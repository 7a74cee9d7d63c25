"""What /metrics says is Prometheus' text format, and its values are those of the snapshot."""

from __future__ import annotations

import re
from pathlib import Path

import attrs
import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.recordings import session

from camd.live.viewer_counts import TooManyViewersError, ViewerCounts
from camd.metrics.exposition import (
    CameraMetrics,
    MetricsSnapshot,
    RecorderCounts,
    families,
    render_metrics,
)
from camd.metrics.publication_families import MediaServerMetrics, PublicationMetrics
from camd.metrics.snapshot_families import SnapshotCounts
from camd.metrics.viewer_families import ExportMetrics, ViewerMetrics
from camd.model import (
    CameraId,
    CameraState,
    CameraStatus,
    PublicationState,
    PublicationStatus,
    StorageLevel,
    StorageStatus,
    VideoFormat,
)
from camd.rpc.server_counters import ServerCounters
from camd.storage.rules.io_stats import DurationCounter

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def camera(**facts: object) -> CameraMetrics:
    status = CameraStatus(
        camera_id=CameraId("gate"),
        device="/dev/video0",
        name="Gate",
        identity="usb",
        state=CameraState.STREAMING,
        problem=None,
        video=None,
        wanted=VideoFormat("", 0, 0, 0.0),
        session=session(healthy=True),
        bytes_captured=12345,
        streaming_since=None,
        restarts=0,
    )
    return CameraMetrics(attrs.evolve(status, **facts), wanted=True, frames_captured=99)


def snapshot(**facts: object) -> MetricsSnapshot:
    storage = StorageStatus(
        level=StorageLevel.LOW,
        total_bytes=1000,
        used_bytes=600,
        available_bytes=400,
        used_percent=60.0,
        recordings_bytes=500,
        promised_bytes=100,
        write_rate=10.0,
        seconds_until_blocked=None,
        warn_percent=80,
        block_percent=90,
        critical_percent=95,
    )
    values: dict[str, object] = {
        "version": "1.2",
        "cameras": (camera(),),
        "storage": storage,
        "syncs": DurationCounter().histogram,
        "recorder": RecorderCounts(),
        "calls": ServerCounters(connections=3, requests=7, busy_seconds=0.5),
    }
    return MetricsSnapshot(**(values | facts))  # type: ignore[arg-type]


def full() -> MetricsSnapshot:
    """Return a snapshot in which every metric has a value."""
    one = ("gate", "camera_lost")
    counts = RecorderCounts({"gate": 1}, {"gate": 1}, {"gate": 1}, {one: 1}, {one: 1}, {one: 1})
    storage = attrs.evolve(snapshot().storage, seconds_until_blocked=9.0, free_inodes=7)
    cameras = (attrs.evolve(camera(), durable_age=0.5),)
    return snapshot(
        cameras=cameras,
        storage=storage,
        recorder=counts,
        verified_at=1.0,
        snapshots=SnapshotCounts({"gate": 1}, {"gate": 1}, {("gate", "stalled"): 1}),
        viewers=ViewerMetrics({"gate": 1}, {"gate": 1}, {"gate": 1}, {"gate": 1}),
        media_server=published(),
    )


def published(state: PublicationState = PublicationState.PUBLISHING) -> MediaServerMetrics:
    """Return a server that answers, and one camera that is published to it."""
    publication = PublicationMetrics(
        CameraId("gate"),
        PublicationStatus("yard/gate", state, starts=3),
        bytes_sent=4000,
        frames_dropped=5,
        lag_seconds=0.25,
        readers=2,
        failures={"refused": 2},
    )
    return MediaServerMetrics(up=True, version="v1.20.0", paths=7, publications=(publication,))


def full_text() -> bytes:
    """Return what /metrics says of it."""
    return render_metrics(full())


def everything() -> Samples:
    """Return all its samples."""
    return samples(full())


def samples(of: MetricsSnapshot) -> Samples:
    text = render_metrics(of).decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_camera_has_one_state_and_says_whether_its_recording_is_healthy() -> None:
    found = samples(snapshot())
    states = {
        dict(labels)["state"]: value
        for (name, labels), value in found.items()
        if name == "camd_camera_state"
    }
    assert states == {
        **{state.value.lower(): 0.0 for state in CameraState},
        "streaming": 1.0,
    }
    here = (("camera", "gate"),)
    assert found["camd_camera_recording_healthy", here] == 1
    assert found["camd_camera_wanted", here] == 1
    assert found["camd_camera_frames_total", here] == 99
    assert found["camd_camera_bytes_total", here] == 12345
    assert ("camd_camera_last_durable_frame_age_seconds", here) not in found


def test_a_camera_that_is_not_recorded_is_not_healthy_and_not_recording() -> None:
    found = samples(snapshot(cameras=(camera(session=None),)))
    here = (("camera", "gate"),)
    assert found["camd_camera_recording", here] == 0
    assert found["camd_camera_recording_healthy", here] == 0


def test_totals_have_a_camera_and_gaps_a_cause() -> None:
    counts = RecorderCounts(
        recorded_bytes={"gate": 5000},
        recorded_seconds={"gate": 12.5},
        gap_seconds={("gate", "camera_lost"): 3.25},
        gap_entries={("gate", "camera_lost"): 2},
        failed_captures={("gate", "unplugged"): 4},
    )
    found = samples(snapshot(recorder=counts))
    lost = (("camera", "gate"), ("cause", "camera_lost"))
    assert found["camd_recorded_bytes_total", (("camera", "gate"),)] == 5000
    assert found["camd_recorded_seconds_total", (("camera", "gate"),)] == 12.5
    assert found["camd_gap_seconds_total", lost] == 3.25
    assert found["camd_gap_entries_total", lost] == 2
    assert found["camd_ffmpeg_exits_total", (("camera", "gate"), ("cause", "unplugged"))] == 4


def test_syncs_are_a_histogram() -> None:
    syncs = DurationCounter()
    for seconds in (0.001, 0.004, 0.004, 2.0, 300.0):
        syncs.add(seconds)
    found = samples(snapshot(syncs=syncs.histogram))
    name = "camd_storage_sync_seconds_bucket"
    assert found[name, (("le", "0.001"),)] == 1
    assert found[name, (("le", "0.005"),)] == 3
    assert found[name, (("le", "1.0"),)] == 3
    assert found[name, (("le", "2.5"),)] == 4
    assert found[name, (("le", "+Inf"),)] == 5
    assert found["camd_storage_sync_seconds_count", ()] == 5
    assert found["camd_storage_sync_seconds_sum", ()] == pytest.approx(302.009)


def test_a_published_camera_has_one_state_its_totals_and_its_viewers() -> None:
    found = samples(snapshot(media_server=published(PublicationState.RESTING)))
    states = {
        dict(labels)["state"]: value
        for (name, labels), value in found.items()
        if name == "camd_publication_state"
    }
    assert states == {"waiting": 0, "connecting": 0, "publishing": 0, "resting": 1}
    here = (("camera", "gate"),)
    assert found["camd_publication_bytes_total", here] == 4000
    assert found["camd_publication_starts_total", here] == 3
    assert found["camd_publication_frames_dropped_total", here] == 5
    assert found["camd_publication_lag_seconds", here] == 0.25
    assert found["camd_publication_readers", here] == 2
    assert found["camd_publication_failures_total", (*here, ("cause", "refused"))] == 2
    assert found["camd_mediamtx_up", ()] == 1
    assert found["camd_mediamtx_info", (("version", "v1.20.0"),)] == 1
    assert found["camd_mediamtx_paths", ()] == 7


def test_without_a_media_server_nothing_is_said_of_one() -> None:
    found = {name for name, _ in samples(snapshot())}
    assert not [name for name in found if name.startswith(("camd_mediamtx", "camd_publication"))]


def test_a_server_that_never_answered_is_down_and_has_no_version() -> None:
    found = samples(snapshot(media_server=MediaServerMetrics(False, "", 0)))
    assert found["camd_mediamtx_up", ()] == 0
    assert "camd_mediamtx_info" not in {name for name, _ in found}


def test_snapshots_are_counted_by_camera_and_failures_by_cause() -> None:
    decodes = DurationCounter()
    decodes.add(0.04)
    counts = SnapshotCounts({"gate": 3}, {"gate": 9}, {("gate", "stalled"): 2}, decodes.histogram)
    status = attrs.evolve(snapshot().storage, snapshots_bytes=12_000)
    found = samples(snapshot(snapshots=counts, storage=status))
    here = (("camera", "gate"),)
    assert found["camd_snapshots_taken_total", here] == 3
    assert found["camd_stills_shown_total", here] == 9
    assert found["camd_snapshots_failed_total", (*here, ("cause", "stalled"))] == 2
    assert found["camd_snapshot_decode_seconds_count", ()] == 1
    assert found["camd_snapshot_decode_seconds_bucket", (("le", "0.025"),)] == 0
    assert found["camd_snapshot_decode_seconds_bucket", (("le", "0.05"),)] == 1
    assert found["camd_storage_snapshots_bytes", ()] == 12_000


def test_viewers_are_counted_by_camera_also_where_nobody_watches() -> None:
    counts = ViewerCounts(of_camera=2)
    yard = CameraId("yard")
    with counts.admitted(yard) as viewer, counts.admitted(yard):
        viewer.count_sent(5000)
        viewer.count_skipped(7)
        with pytest.raises(TooManyViewersError), counts.admitted(yard):
            pass
        metrics = ViewerMetrics.of(counts, [CameraId("gate"), yard])
    found = samples(snapshot(viewers=metrics))
    gate, here = (("camera", "gate"),), (("camera", "yard"),)
    assert (found["camd_viewers", gate], found["camd_viewers", here]) == (0, 2)
    assert found["camd_viewer_sent_bytes_total", here] == 5000
    assert found["camd_viewer_skipped_frames_total", here] == 7
    assert found["camd_viewers_refused_total", here] == 1


def test_exports_are_counted() -> None:
    found = samples(snapshot(exports=ExportMetrics(running=3, sent_bytes=9000, ended_early=1)))
    assert found["camd_exports_running", ()] == 3
    assert found["camd_export_sent_bytes_total", ()] == 9000
    assert found["camd_exports_ended_early_total", ()] == 1


def test_an_unknown_forecast_is_left_out_and_a_known_one_is_told() -> None:
    plain = snapshot()
    assert ("camd_storage_full_in_seconds", ()) not in samples(plain)
    known = attrs.evolve(plain.storage, seconds_until_blocked=3600.0)
    assert samples(snapshot(storage=known))["camd_storage_full_in_seconds", ()] == 3600
    assert samples(plain)["camd_storage_level", (("level", "low"),)] == 1


def test_a_camera_name_with_quotes_and_line_breaks_stays_one_label() -> None:
    named = camera(camera_id=CameraId('a"b\\c\nd'))
    found = samples(snapshot(cameras=(named,)))
    assert found["camd_camera_wanted", (("camera", 'a"b\\c\nd'),)] == 1


def test_the_process_itself_is_measured() -> None:
    found = samples(snapshot())
    assert found["process_resident_memory_bytes", ()] > 1_000_000
    assert found["process_open_fds", ()] > 0


def test_every_metric_says_what_it_is_and_has_a_base_unit() -> None:
    for family in families(full()):
        assert family.documentation.endswith("."), family.name
        assert "_ms" not in family.name
        assert "percent" not in family.name


def test_no_sample_has_a_label_that_grows_without_bound() -> None:
    allowed = {"camera", "cause", "state", "level", "le", "version"}
    for family in families(full()):
        for sample in family.samples:
            assert set(sample.labels) <= allowed, sample.name


def test_names_are_documented() -> None:
    page = Path(__file__).parents[2] / "docs" / "metrics.md"
    text = page.read_text(encoding="utf-8")
    for family in families(full()):
        assert f"`{family.name}" in text, family.name


def test_every_name_on_the_page_exists() -> None:
    page = Path(__file__).parents[2] / "docs" / "metrics.md"
    named = set(re.findall(r"`(camd_[a-z_]+)`", page.read_text(encoding="utf-8")))
    exposed = {name for name, _ in everything()}
    histograms = {"camd_storage_sync_seconds", "camd_snapshot_decode_seconds"}
    assert named - exposed == histograms  # which have _bucket, _sum, _count
