"""What must not be taken away from camd: each sync, each checksum, each entry, each bound.

`tests/mutations.py` takes each away. A mutation says in one sentence what guarantee it breaks, and
which tests have to notice. Whoever adds a sync or a checksum adds its mutation here:
`tests/process/test_mutations.py` asks for it.
"""

from __future__ import annotations

from mutation.mutating import Mutation

SEGMENT = "camd/storage/segment_file.py"
JOURNAL = "camd/storage/index/index_journal.py"
RECORDER = "camd/recording/writer.py:SessionWriter"
LEDGER = "camd/recording/rules/ledger.py:SessionLedger"
OPENED = "camd/recording/segment_writer.py:SegmentWriter"
TRACK = "camd/capture/rules/timestamps.py:TrackTimeline"
THROTTLE = "camd/auth/login_throttle.py:LoginThrottle"
CONNECTION = "camd/server/connection.py:Connection"

DURABILITY = "tests/actors/test_recording_durability.py"
SYNCS = "tests/process/test_storage_syncs.py"
SEGMENTS = "tests/pure/test_storage_segment_file.py"
POWER_CUTS = "tests/pure/test_storage_powercut.py"
CRASHES = "tests/pure/test_storage_crashes.py"
JOURNALS = "tests/pure/test_storage_journal.py"
PINS = "tests/pure/test_storage_pins.py"
REMOVAL = "tests/pure/test_storage_removal.py"
RECEIPTS = "tests/pure/test_storage_cleanup_log.py"
REPAIR = "tests/pure/test_mp4_interrupted.py"
ARGUMENTS = "tests/pure/test_ffmpeg_args.py"
PROBLEM = "tests/actors/test_camera_problems.py"
TALKS = "tests/actors/test_camera_calls.py"
HEALTH = "tests/actors/test_recording_health.py"
CLOCK = "tests/actors/test_recording_clock_steps.py"
DROPPED = "tests/actors/test_recording_dropped_frames.py"
SEAMS = "tests/actors/test_recording_seams.py"
SUM = "tests/actors/test_recording_sum.py"
ENTRIES = "tests/actors/test_recording_gap_entries.py"
PIPES = "tests/process/test_runtime_pipe_poller.py"
FRAME_READS = "tests/process/test_capture_frames.py"
FRAMES = "tests/pure/test_mp4_frame_fragments.py"
JOINING = "tests/pure/test_capture_joining.py"
HUB_FRAMES = "tests/actors/test_capture_hub_frames.py"
RUN = "tests/actors/test_capture_process.py"
LIMITS = "tests/actors/test_recording_limits.py"
QUEUE = "tests/pure/test_recording_queue.py"
SESSIONS = "tests/pure/test_recording_ledger.py"
BOXES = "tests/pure/test_mp4_boxes.py"
FRAGMENTS = "tests/pure/test_mp4_fragments.py"
SERVER_BOUNDS = "tests/wire/test_server_bounds.py"
CALLS = "tests/wire/test_server_calls.py"
CONNECTIONS = "tests/wire/test_server_connections.py"
HTTP = "tests/wire/test_server_http.py"
SPAWN = "tests/process/test_runtime_child_process.py"
BOUNDS = "tests/process/test_bounds.py"
HARMS = "tests/actors/test_recording_file_harms.py"
TIMELINE = "tests/pure/test_capture_timestamps.py"
STAMP_FAULTS = "tests/pure/test_capture_stamp_faults.py"
UNAUTHENTICATED = "tests/wire/test_server_unauthenticated.py"
CONNECTION_LIMITS = "tests/pure/test_server_connection_limits.py"
ASKING = "tests/process/test_runtime_query_process.py"
PUBLISHING = "tests/pure/test_publish_rules.py"
PUBLISH_QUEUE = "tests/actors/test_publish_queue.py"
LIVE = "tests/daemon/test_daemon_live.py"
STRANGE = "tests/daemon/test_live_strange_streams.py"
PRESENCE = "tests/pure/test_live_sound_presence.py"
LIVE_BACKLOG = "tests/pure/test_live_backlog.py"
LIVE_COUNTS = "tests/pure/test_live_viewer_counts.py"
LIVE_MESSAGES = "tests/pure/test_live_messages.py"
LIVE_VIEW = "tests/actors/test_live_view.py"
LIVE_PAGES = "tests/actors/test_live_routes.py"
APPLICATION_SOCKETS = "tests/wire/test_server_application_sockets.py"
STREAMS = "tests/process/test_publish_streams.py"
RELOADED = "tests/process/test_publish_reload.py"
CHECK_PARTS = "tests/process/test_cli_check_parts.py"
CONTRACT = "tests/process/test_publish_mediamtx.py"
JSONRPC = "tests/wire/test_server_jsonrpc.py"
CONVERSATIONS = "tests/daemon/test_daemon_conversations.py"
HOLD = "tests/wire/test_server_held_notifications.py"
EVENT_LOG = "tests/process/test_events_log.py"
EVENT_HISTORY = "tests/pure/test_events_history.py"
EVENT_NUMBERS = "tests/pure/test_events_numbering.py"
EVENT_LINES = "tests/pure/test_events_lines.py"
DELIVERY = "tests/pure/test_server_event_delivery.py"
SUBSCRIPTIONS = "tests/wire/test_server_events.py"
CLIENT = "tests/process/test_client_connections.py"
SOCKETS = "tests/process/test_server_sockets.py"

WINDOWS = "tests/pure/test_schedules_windows.py"
SCHEDULE_RULES = "tests/pure/test_schedules_findings.py"
SCHEDULES = "tests/actors/test_schedules.py"
CAMERA_SCHEDULE = "camd/schedules/camera_scheduler.py:CameraScheduler"
CUTS = "tests/process/test_mp4_cut_movie.py"
EXPORTS = "tests/process/test_export_exports.py"
EXPORT_PLAN = "tests/pure/test_export_plan.py"
EXPORTING = "tests/daemon/test_daemon_exports.py"
EXPORT_RECEIPTS = "tests/process/test_cli_export_receipts.py"

_made: list[Mutation] = []


def _break(name: str, guarantee: str, where: str, old: str, new: str, *tests: str) -> None:
    _made.append(Mutation(name, guarantee, where, old, new, tests))


# --- syncs ----------------------------------------------------------------------------------

_break(
    "disk: fdatasync",
    "A sync of a recording is a system call.",
    "camd/storage/disk.py:PosixFile.sync",
    "os.fdatasync(self._fd)",
    "",
    f"{SYNCS}::test_the_syncs_of_a_recording_reach_the_kernel",
)
_break(
    "disk: fsync of the folder",
    "A sync of a folder is a system call.",
    "camd/storage/disk.py:PosixDisk.sync_directory",
    "os.fsync(fd)",
    "",
    f"{SYNCS}::test_the_syncs_of_a_recording_reach_the_kernel",
)
_break(
    "watched: sync",
    "The disk whose calls are timed passes a sync on.",
    "camd/storage/timed_disk.py:TimedFile.sync",
    "self._file.sync()",
    "",
    f"{SYNCS}::test_the_syncs_of_a_recording_reach_the_kernel",
)
_break(
    "watched: sync of the folder",
    "The disk whose calls are timed passes a sync of a folder on.",
    "camd/storage/timed_disk.py:TimedDisk.sync_directory",
    "self._disk.sync_directory(path)",
    "",
    f"{SYNCS}::test_the_syncs_of_a_recording_reach_the_kernel",
)
_break(
    "replace: sync of the bytes",
    "A small file is whole on the disk before it takes the old one's name.",
    "camd/runtime/state_file.py:replace_file",
    "os.fsync(descriptor)",
    "",
    f"{SYNCS}::test_a_small_file_is_whole_before_it_has_its_name",
)
_break(
    "replace: sync before the flush",
    "All bytes of a small file are with the kernel when it is synced.",
    "camd/runtime/state_file.py:replace_file",
    "file.flush()",
    "",
    f"{SYNCS}::test_a_small_file_is_whole_before_it_has_its_name",
)
_break(
    "replace: sync of the folder",
    "The new name of a small file survives a power cut.",
    "camd/runtime/state_file.py:replace_file",
    "os.fsync(folder)",
    "",
    f"{SYNCS}::test_a_small_file_is_whole_before_it_has_its_name",
)
_break(
    "segment: sync of the first fragment",
    "A file's first fragment is durable when the start is answered.",
    f"{SEGMENT}:SegmentFile._begin",
    "self.sync()",
    "",
    f"{SEGMENTS}::test_a_segment_is_never_seen_without_footage",
    f"{DURABILITY}::test_a_start_is_answered_by_what_is_durable",
)
_break(
    "segment: sync of the folder",
    "A file's name is durable when the start is answered.",
    f"{SEGMENT}:SegmentFile.create",
    "disk.sync_directory(directory)",
    "",
    f"{POWER_CUTS}::test_a_power_cut_costs_only_what_was_not_synced",
    f"{DURABILITY}::test_a_start_is_answered_by_what_is_durable",
)
_break(
    "segment: sync",
    "A sync makes everything durable that was appended before it.",
    f"{SEGMENT}:SegmentFile.sync",
    "self._sync_or_doubt()",
    "",
    f"{POWER_CUTS}::test_a_power_cut_costs_only_what_was_not_synced",
)
_break(
    "segment: the sync itself",
    "What settles a segment is a sync.",
    f"{SEGMENT}:SegmentFile._sync_or_doubt",
    "self._file.sync()",
    "",
    f"{POWER_CUTS}::test_a_power_cut_costs_only_what_was_not_synced",
)
_break(
    "segment: a failed sync forgotten",
    "A file of which a sync failed is never called durable.",
    f"{SEGMENT}:SegmentFile._sync_or_doubt",
    "self.doubtful = True",
    "",
    f"{SEGMENTS}::test_a_sync_that_failed_once_is_never_forgotten",
)
_break(
    "segment: sync between moov and header",
    "The final index is durable before the 16 bytes hide the old one.",
    f"{SEGMENT}:SegmentFile._put_moov",
    "self._sync_or_doubt()",
    "",
    f"{SEGMENTS}::test_the_final_index_is_durable_before_the_old_one_is_hidden",
    f"{POWER_CUTS}::test_a_power_cut_costs_only_what_was_not_synced",
)
_break(
    "segment: sync of the seal",
    "A seal is durable when it is answered.",
    f"{SEGMENT}:SegmentFile.seal",
    "self._sync_or_doubt()",
    "",
    f"{SEGMENTS}::test_a_sealed_segment_is_what_a_receipt_says",
    f"{DURABILITY}::test_a_file_is_durable_before_the_next_one_begins",
)
_break(
    "split: sync of what was moved",
    "Pictures are taken off a file when the one that they were moved into is durable.",
    "camd/recording/segment_writer.py:SegmentWriter._move_behind",
    "moved.file.sync()",
    "",
    f"{LIMITS}::test_frames_that_move_are_durable_before_they_are_removed",
)
_break(
    "segment: header before moov",
    "The old index is not hidden before the new one is there.",
    f"{SEGMENT}:SegmentFile.seal",
    """
    if self._moov is None:
        self._moov = self._put_moov()
    self._file.overwrite(FTYP_SIZE, self.index.seal_header(self.size_bytes))
    """,
    """
    self._file.overwrite(FTYP_SIZE, self.index.seal_header(self.size_bytes))
    if self._moov is None:
        self._moov = self._put_moov()
    """,
    f"{SEGMENTS}::test_the_final_index_is_durable_before_the_old_one_is_hidden",
    f"{POWER_CUTS}::test_a_power_cut_costs_only_what_was_not_synced",
)
_break(
    "segment: more said than synced",
    "What counts as durable is what was appended before the sync began.",
    f"{SEGMENT}:SegmentFile.append",
    "self._write(self.index.render(fragment, self.synced_bytes))",
    "self._write(self.index.render(fragment, self.size_bytes))",
    f"{SEGMENTS}::test_a_file_calls_durable_what_was_synced",
)
_break(
    "append: sync that is due",
    "What was written is synced within the durability.",
    "camd/recording/segment_writer.py:SegmentWriter.append",
    "self.file.sync()",
    "",
    f"{DURABILITY}::test_a_writer_that_is_never_idle_syncs_as_often",
)
_break(
    "recorder: sync never due",
    "A write begins the time after which it must be synced.",
    f"{RECORDER}._append",
    "self._sync_due = self.clock.monotonic() + self.sync_seconds",
    "",
    f"{DURABILITY}::test_a_power_cut_costs_the_durability_and_a_fragment",
)
_break(
    "recorder: sync before the next fragment",
    "A sync that is due before the next fragment comes goes along with this one.",
    f"{RECORDER}._append",
    "NEXT_FRAGMENT * captured.fragment.duration_seconds",
    "0.0",
    f"{DURABILITY}::test_a_sync_goes_along_with_the_last_fragment_before_it_is_due",
)
_break(
    "aligned sleep: rounded",
    "A task that sleeps until an aligned moment sleeps, also where that is rounded.",
    "camd/runtime/aligned_sleep.py:next_aligned",
    "moment if moment > now else moment + seconds",
    "moment",
    "tests/actors/test_runtime_aligned_sleep.py::test_an_aligned_moment_is_later_than_now",
)
_break(
    "rounds: a pipe that was full",
    "A pipe that was full is not read in rounds before its rate is known, and twice as often then.",
    "camd/runtime/pipe_poller.py:PipeFillEstimate.came",
    "2 if moment < self._full_at + FULL_SECONDS else 1",
    "1",
    "tests/pure/test_runtime_pipe_flow.py::test_a_pipe_whose_rate_fell_can_wait_again",
)
_break(
    "recorder: sync in silence",
    "What was written is synced although nothing comes behind it.",
    f"{RECORDER}._sync",
    "await self.storage.on_disk(file.sync)",
    "",
    f"{DURABILITY}::test_the_last_fragments_are_synced_although_nothing_follows",
)
_break(
    "recorder: no time for the sync",
    "A recorder that waits for frames wakes up for the sync.",
    f"{RECORDER}._write_next",
    "trio.move_on_after(self._until_sync())",
    "trio.CancelScope()",
    f"{DURABILITY}::test_the_last_fragments_are_synced_although_nothing_follows",
)
_break(
    "recorder: seal at a rotation",
    "A file is sealed and durable before the next one begins.",
    f"{RECORDER}._rotate",
    "await self._seal()",
    "setattr(self, '_open', None)",
    f"{DURABILITY}::test_a_file_is_durable_before_the_next_one_begins",
)
_break(
    "journal: sync",
    "A line of the journal is durable when that is said.",
    f"{JOURNAL}:IndexJournal._append",
    "file.sync()",
    "",
    f"{JOURNALS}::test_a_power_cut_costs_no_line_that_was_confirmed",
)
_break(
    "journal: sync of the folder",
    "A new file of the journal survives a power cut.",
    "camd/storage/disk.py:open_lines",
    "disk.sync_directory(path.parent)",
    "",
    f"{JOURNALS}::test_a_power_cut_costs_no_line_that_was_confirmed",
)
_break(
    "journal: sync of the folder again",
    "A file of the journal whose name was never synced is synced before lines go into it.",
    "camd/storage/disk.py:open_lines",
    "disk.sync_directory(path.parent)",
    "",
    f"{JOURNALS}::test_a_name_that_could_not_be_synced_is_synced_later",
)
_break(
    "pins: sync of their folder",
    "The folder of the pins is there after a power cut.",
    "camd/storage/removal.py:Pins.put",
    "self.disk.sync_directory(self.folder.parent)",
    "",
    f"{PINS}::test_the_first_pin_makes_its_folder_durable",
)
_break(
    "pins: sync of the marker",
    "A pin that was answered holds after a power cut.",
    "camd/storage/removal.py:Pins.put",
    "file.sync()",
    "",
    f"{PINS}::test_a_power_cut_never_unpins",
)
_break(
    "pins: sync of the name",
    "The name of a pin that was answered is durable.",
    "camd/storage/removal.py:Pins.put",
    "self.disk.sync_directory(self.folder)",
    "",
    f"{PINS}::test_a_power_cut_never_unpins",
)
_break(
    "pins: sync of a drop",
    "A pin that was taken away does not come back.",
    "camd/storage/removal.py:Pins.drop",
    "self.disk.sync_directory(self.folder)",
    "",
    f"{PINS}::test_a_pin_that_was_dropped_does_not_come_back",
)
_break(
    "receipts: sync",
    "The receipt of a cleanup survives a power cut.",
    "camd/storage/retention/cleanup.py:append_receipt",
    "lines.file.sync()",
    "",
    f"{RECEIPTS}::test_a_receipt_that_was_written_survives_a_power_cut",
)
_break(
    "receipts: sync of the folder",
    "The first receipt survives a power cut.",
    "camd/storage/disk.py:open_lines",
    "disk.sync_directory(path.parent)",
    "",
    f"{RECEIPTS}::test_a_receipt_that_was_written_survives_a_power_cut",
)
_break(
    "trial: sync",
    "A disk that takes bytes and cannot keep them does not work.",
    "camd/storage/volume_sample.py:writing_works",
    "file.sync()",
    "",
    f"{SYNCS}::test_a_trial_that_cannot_be_synced_has_failed",
)
_break(
    "recovery: sync between moov and header",
    "Recovery, cut off by a power cut, loses nothing that it had found.",
    "camd/storage/recovery/file_recovery.py:_seal",
    "file.append([moov])\nfile.sync()",
    "file.append([moov])",
    f"{POWER_CUTS}::test_a_power_cut_during_recovery_is_recovered_from",
)
_break(
    "recovery: sync of the seal",
    "A file that recovery has reported as sealed is sealed after a power cut.",
    "camd/storage/recovery/file_recovery.py:_seal",
    "file.overwrite(FTYP_SIZE, found.index.seal_header(found.whole_bytes))\nfile.sync()",
    "file.overwrite(FTYP_SIZE, found.index.seal_header(found.whole_bytes))",
    f"{POWER_CUTS}::test_what_was_recovered_stays_so_after_a_power_cut",
)
_break(
    "removal: sync of the folder",
    "What was removed does not come back.",
    "camd/storage/removal.py:Remover._synced",
    "self.disk.sync_directory(self.folder)",
    "",
    f"{REMOVAL}::test_a_power_cut_leaves_file_and_entry_or_neither",
    f"{REMOVAL}::test_what_is_removed_is_gone_and_nothing_else",
)
_break(
    "mkv: sync of the bytes",
    "An MP4 goes only when the bytes of its MKV are durable.",
    "camd/recording/convert.py:_publish",
    "os.fsync(file.fileno())",
    "",
    f"{SYNCS}::test_an_mp4_goes_when_its_mkv_is_durable",
)
_break(
    "mkv: sync of the name",
    "An MP4 goes only when the name of its MKV is durable.",
    "camd/recording/convert.py:_publish",
    "storage.disk.sync_directory(storage.folder)",
    "",
    f"{SYNCS}::test_an_mp4_goes_when_its_mkv_is_durable",
)
_break(
    "mkv: sync of the removal",
    "An MP4 whose MKV is known does not come back.",
    "camd/recording/convert.py:_remove",
    "storage.disk.sync_directory(source.parent)",
    "",
    f"{SYNCS}::test_an_mp4_goes_when_its_mkv_is_durable",
)

# --- checksums ------------------------------------------------------------------------------

_break(
    "checksum box: no checksum written",
    "A fragment's checksum is over its bytes.",
    "camd/mp4/segment.py:SegmentLayout.render",
    "checksum_of((moof, fragment.mdat), synced_bytes)",
    "0",
    f"{REPAIR}::test_a_file_cut_anywhere_keeps_every_whole_fragment",
)
_break(
    "checksum box: media left out",
    "A fragment's checksum covers its pictures.",
    "camd/mp4/segment.py:checksum_of",
    "checksum = zlib.crc32(piece, checksum)",
    "break",
    f"{REPAIR}::test_damage_after_the_last_sync_is_found",
)
_break(
    "checksum box: synced bytes left out",
    "A fragment's checksum covers what it says about the last sync.",
    "camd/mp4/segment.py:checksum_of",
    'zlib.crc32(synced_bytes.to_bytes(8, "big"), checksum)',
    "checksum",
    f"{REPAIR}::test_a_damaged_check_box_ends_the_intact_part",
)
_break(
    "checksum box: mark",
    "A free box of somebody else is no checksum box.",
    "camd/mp4/segment.py:read_checksum_box",
    """
    if (size, kind, mark) != (CHECKSUM_BOX_SIZE, b"free", _CHECKSUM_MARK):
        return None
    """,
    "",
    f"{REPAIR}::test_a_free_box_without_the_mark_ends_the_intact_part",
)
_break(
    "recovery: checksum not compared",
    "A fragment that a power cut has damaged is not taken for a whole one.",
    "camd/mp4/interrupted.py:_intact",
    "checksum_of(pieces(), fragment.synced_bytes) == fragment.checksum",
    "True",
    f"{REPAIR}::test_damage_after_the_last_sync_is_found",
    f"{POWER_CUTS}::test_a_power_cut_costs_only_what_was_not_synced",
)
_break(
    "recovery: damaged fragments kept",
    "Footage behind a damaged fragment is not joined to what is before it.",
    "camd/mp4/interrupted.py:read_interrupted",
    """
    if (every or fragment.end > durable) and not _intact(read, fragment):
        break
    """,
    "",
    f"{REPAIR}::test_damage_after_the_last_sync_is_found",
)
_break(
    "verify: only what was not synced",
    "A verification reads every fragment.",
    "camd/mp4/interrupted.py:read_interrupted",
    "every or fragment.end > durable",
    "fragment.end > durable",
    "tests/process/test_storage_verify_folder.py"
    "::test_a_recording_without_a_hash_is_held_against_its_checksums",
)
_break(
    "verify: hash not compared",
    "A recording whose bytes have changed is found by its hash.",
    "camd/storage/verify/rules/findings.py",
    "seen.sha256 is None or seen.sha256 == known.sha256",
    "True",
    "tests/process/test_storage_verify_folder.py::test_fast_trusts_the_media_and_still_reads_the_structure",
)
_break(
    "hash: first bytes left out",
    "The hash of a receipt covers the file from byte 48 on.",
    f"{SEGMENT}:SegmentFile._write",
    "self._hash.update(fresh)",
    "",
    f"{SEGMENTS}::test_a_sealed_segment_is_what_a_receipt_says",
)
_break(
    "hash: final index left out",
    "The hash of a receipt covers the final index.",
    f"{SEGMENT}:SegmentFile.seal",
    "self._hash.update(self._moov)",
    "",
    f"{SEGMENTS}::test_a_sealed_segment_is_what_a_receipt_says",
)
_break(
    "journal: no checksum written",
    "Each line of the journal is guarded by the CRC-32 of its text.",
    "camd/storage/rules/journal_records.py",
    'b"%08x %s\\n" % (zlib.crc32(text), text)',
    'b"%08x %s\\n" % (0, text)',
    f"{JOURNALS}::test_records_come_out_as_they_went_in",
)
_break(
    "journal: checksum not compared",
    "A line that was damaged is passed over.",
    "camd/storage/rules/journal_records.py",
    'space != b" " or crc != b"%08x" % zlib.crc32(text)',
    'space != b" "',
    f"{JOURNALS}::test_damage_costs_only_the_lines_it_hits",
    f"{JOURNALS}::test_a_changed_digit_makes_a_line_invalid",
)
_break(
    "journal: line behind a torn one",
    "What a crash has torn spoils no line that comes behind it.",
    f"{JOURNAL}:IndexJournal._append",
    'lines = b"\\n" + lines',
    "pass",
    f"{JOURNALS}::test_a_power_cut_costs_no_line_that_was_confirmed",
)
_break(
    "mkv: packets not compared",
    "An MP4 stays when its MKV does not hold the same packets.",
    "camd/recording/convert.py:_convert",
    "not packets or packets != await _packets(program, part)",
    "False",
    f"{SYNCS}::test_an_mp4_stays_when_its_mkv_holds_something_else",
)

# --- entries of the ledger ------------------------------------------------------------------

_break(
    "ledger: captured not counted",
    "Every frame that arrives is counted.",
    f"{LEDGER}.took",
    "self.frames_captured += frames",
    "",
    f"{PROBLEM}::test_a_session_outlives_its_capture",
)
_break(
    "ledger: entry not kept",
    "An entry stands in the session's account.",
    f"{LEDGER}._enter",
    "self.gaps.append(gap)",
    "",
    f"{SESSIONS}::test_captured_is_written_and_ledgered",
)
_break(
    "ledger: entry not stored",
    "An entry of the session's account is in the index.",
    "camd/recording/reports.py:SessionReports.store",
    "await self.storage.note_gaps(gaps)",
    "",
    f"{PROBLEM}::test_a_session_outlives_its_capture",
)
_break(
    "ledger: entry not told",
    "Who listens hears of every entry.",
    "camd/recording/reports.py:SessionReports.store",
    "self.tell(RecordingEventKind.GAP, reason=gap.cause.value)",
    "",
    f"{TALKS}::test_events_come_in_the_order_of_what_happened",
)
_break(
    "ledger: sum not checked at a seal",
    "An error in the sum of frames is told at the next seal.",
    f"{RECORDER}._seal_file",
    "self.reports.compare_sums()",
    "",
    f"{SUM}::test_lost_frames_are_reported_at_the_next_seal",
)
_break(
    "ledger: sum not checked at the end",
    "An error in the sum of frames is told at the end.",
    "camd/recording/session.py:RecordingSession._close_ledger",
    "self.reports.compare_sums()",
    "",
    f"{SUM}::test_lost_frames_after_the_last_seal_are_reported_at_the_end",
)
_break(
    "storage_slow",
    "Frames that the queue had to drop are in the ledger.",
    f"{RECORDER}._take",
    "self.ledger.lose(FrameLoss(start, end, frames, GapCause.STORAGE_SLOW, why))",
    "",
    f"{PROBLEM}::test_a_slow_disk_costs_the_oldest_frames_and_says_so",
)
_break(
    "storage_slow: no marker",
    "What the queue drops leaves a marker that says how many frames it had.",
    "camd/recording/recording_queue.py:RecordingQueue._drop_oldest_gop",
    "self._items.insert(first, QueueDrop(start, end, frames))",
    "",
    f"{QUEUE}::test_a_full_queue_drops_its_oldest_group",
)
_break(
    "storage_full: paused",
    "Frames that come while a full disk pauses a session are in the ledger, exactly.",
    f"{RECORDER}._capture",
    'self.ledger.lose_fragment(captured, stopped_by, "paused until storage is usable again")',
    "",
    f"{PROBLEM}::test_a_critical_volume_pauses_a_session",
)
_break(
    "storage_full: not named",
    "A pause at the critical line is told as a full disk.",
    "camd/recording/rules/durability.py:WriteBackoff.stopped_by",
    "level is StorageLevel.CRITICAL",
    "False",
    f"{PROBLEM}::test_a_critical_volume_pauses_a_session",
)
_break(
    "storage_full: ENOSPC not named",
    "A write that finds no room is told as a full disk.",
    "camd/recording/rules/durability.py:WriteBackoff.failed",
    "error.errno in _NO_ROOM",
    "False",
    f"{ENTRIES}::test_each_error_of_the_disk_has_its_cause",
)
_break(
    "storage_error",
    "The fragment that could not be written is in the ledger.",
    f"{RECORDER}._write_failed",
    'self.ledger.lose_fragment(captured, cause, "sealed the file, tried again later")',
    "",
    f"{PROBLEM}::test_no_frame_is_unaccounted_for_when_the_disk_fails",
)
_break(
    "storage_error: named as full",
    "Any other error of the disk is told as an error.",
    "camd/recording/rules/durability.py:WriteBackoff.failed",
    "GapCause.STORAGE_ERROR",
    "GapCause.STORAGE_FULL",
    f"{ENTRIES}::test_each_error_of_the_disk_has_its_cause",
)
_break(
    "storage_error: larger than a file may be",
    "Frames that have no room in a file, and cannot be moved to the next one, are in the ledger.",
    f"{RECORDER}._go_on_in_another",
    "self.ledger.lose_fragment(captured, GapCause.STORAGE_ERROR, why)",
    "",
    f"{LIMITS}::test_a_group_of_pictures_that_no_file_holds_is_ledgered",
)
_break(
    "file_removed",
    "Frames of a file that somebody has removed are in the ledger, exactly.",
    f"{RECORDER}._close_harmed",
    "await self.reports.store([self.ledger.enter_loss(loss)])",
    "",
    f"{HARMS}::test_a_file_that_is_removed_is_missed_within_a_second",
)
_break(
    "file_removed: counted as written",
    "Frames of a file that somebody has removed do not count as written.",
    f"{RECORDER}._close_harmed",
    "self.ledger.unwrote(lost)",
    "",
    f"{HARMS}::test_a_file_that_is_removed_is_missed_within_a_second",
)
_break(
    "file_removed: not noticed",
    "A file that is removed while it is recorded is noticed before the next fragment.",
    f"{OPENED}.append",
    "self.file.look()",
    "",
    f"{HARMS}::test_a_file_that_is_removed_is_missed_within_a_second",
)
_break(
    "file_removed: not noticed at a seal",
    "A file that is removed right before its seal is not called durable.",
    f"{OPENED}._seal",
    "self.file.look()",
    "",
    f"{HARMS}::test_a_file_removed_right_before_a_rotation_is_not_called_sealed",
)
_break(
    "file_removed: cause of what waits for a key frame",
    "Frames that wait for a key frame behind a file that was cut have its cause.",
    f"{RECORDER}._close_harmed",
    "self.ledger.latest_cause = GapCause.FILE_REMOVED",
    "",
    f"{HARMS}::test_a_session_waits_where_frames_cannot_be_read_back",
)
_break(
    "ledger: rest of a group",
    "Frames that wait for a key frame behind a loss are in the ledger, exactly.",
    f"{RECORDER}._capture",
    'self.ledger.lose_fragment(captured, cause, "waited for the next key frame")',
    "",
    f"{PROBLEM}::test_no_frame_is_unaccounted_for_when_the_disk_fails",
)
_break(
    "ledger: what fits into no file",
    "A fragment that no file can take is in the ledger.",
    f"{RECORDER}._does_not_fit",
    "self.ledger.lose_fragment(captured, GapCause.ENCODER_EXIT, str(error))",
    "",
    f"{ENTRIES}::test_a_fragment_that_fits_into_no_file_is_in_the_ledger",
)
_break(
    "ledger: cut short",
    "The fragment that a second signal or a bug finds in hand is in the ledger.",
    f"{RECORDER}.write_queued",
    'self.ledger.lose_in_hand(self.clock.now(), "was interrupted")',
    "False",
    f"{ENTRIES}::test_frames_in_hand_of_an_interrupted_writer_are_in_the_ledger",
)
_break(
    "encoder_exit",
    "The time from the last frame of a capture to the first one of the next is in the ledger.",
    f"{RECORDER}._take",
    "self.ledger.capture_ended(item)",
    "",
    f"{PROBLEM}::test_a_session_outlives_its_capture",
)
_break(
    "encoder_exit: nobody told",
    "A session is told that the capture has ended.",
    "camd/capture/hub.py:StreamHub.end",
    "attachment.consumer.put(ended)",
    "",
    f"{PROBLEM}::test_a_session_outlives_its_capture",
)
_break(
    "outage: no entry",
    "Footage that is missing has an entry when a capture delivers again, or the session ends.",
    f"{LEDGER}._enter_capture_outage",
    "[self.enter_outage(start, until, over.cause)]",
    "[]",
    f"{PROBLEM}::test_a_session_outlives_its_capture",
)
_break(
    "outage: its first cause lost",
    "The first cause of an outage is kept, whatever keeps the next capture from delivering.",
    f"{LEDGER}.capture_ended",
    "self._end_of_capture is None or self._end_of_capture.cause is None",
    "True",
    f"{ENTRIES}::test_the_first_cause_of_an_outage_stands",
)
_break(
    "outage: gone behind a loss",
    "An outage that ends in frames that cannot be written keeps its own entry.",
    f"{LEDGER}.enter_losses",
    "self._enter_capture_outage(loss.start)",
    "[]",
    f"{ENTRIES}::test_an_outage_that_ends_on_a_full_disk_has_its_own_entry",
)
_break(
    "outage: cause of what waits for a key frame",
    "Frames that wait for a key frame behind an outage have the outage's cause.",
    f"{LEDGER}.capture_ended",
    "self.latest_cause = over.cause or GapCause.FRAMES_DROPPED_BY_SOURCE",
    "",
    f"{ENTRIES}::test_frames_before_the_first_key_frame_have_the_cause_of_their_outage",
)
_break(
    "outage: file before its entry",
    "What is missing before a file is in the ledger before the file is there.",
    f"{RECORDER}._begin",
    "await self.reports.store(self.ledger.begin(start, captured.fragment))",
    "self.ledger.begin(start, captured.fragment)",
    f"{PROBLEM}::test_an_outage_is_in_the_ledger_before_the_file_behind_it",
)
_break(
    "camera_lost",
    "A camera that is gone is reported as lost, and not as an FFmpeg process that ended.",
    "camd/capture/supervisor.py:_capture_ended",
    "GapCause.CAMERA_LOST if absent else problem.ledger_cause",
    "problem.ledger_cause",
    f"{ENTRIES}::test_a_device_that_is_gone_is_lost_whatever_ffmpeg_wrote",
)
_break(
    "camera_stalled",
    "A camera that delivers nothing is told as stalled.",
    "camd/model/problems.py:STALLED",
    "GapCause.CAMERA_STALLED",
    "GapCause.ENCODER_EXIT",
    f"{PROBLEM}::test_a_camera_that_hangs_is_started_again",
)
_break(
    "camera_stalled: not noticed",
    "A camera that delivers nothing is noticed.",
    "camd/capture/process.py:CaptureProcess._report_stalled",
    "await self.tell(ProcessStalled(problem))",
    "",
    f"{PROBLEM}::test_a_camera_that_hangs_is_started_again",
)
_break(
    "camera_hung",
    "An FFmpeg process that SIGKILL does not end is reported.",
    "camd/capture/process.py:CaptureProcess._end_when_told",
    "await self.tell(ProcessStalled(HUNG))",
    "",
    f"{HEALTH}::test_a_process_that_cannot_be_ended_leaves_the_session_waiting",
)
_break(
    "daemon_down",
    "The time in which camd did not run is in the ledger of a session that goes on.",
    f"{LEDGER}.resumed",
    'ledger.capture_ended(CaptureEnded(GapCause.DAEMON_DOWN, "the service was not running"))',
    "",
    f"{PROBLEM}::test_an_outage_is_in_the_ledger_once",
)
_break(
    "daemon_down: not continued",
    "What a session lacks that nothing continues is in the ledger.",
    "camd/camera/unfinished.py:UnfinishedWork._close_session",
    "await self._storage.note_gaps(gaps)",
    "",
    f"{ENTRIES}::test_a_session_that_is_not_continued_has_an_entry_for_the_rest",
)
_break(
    "clock_step",
    "A step of the wall clock is in the ledger.",
    f"{RECORDER}._take",
    "await self.reports.store(self.ledger.clock_stepped(by, moment))",
    "self.ledger.clock_stepped(by, moment)",
    f"{CLOCK}::test_a_new_file_begins_and_no_frame_is_lost",
)
_break(
    "clock_step: while camd did not run",
    "A step of the wall clock between two lives of the daemon is in the ledger.",
    f"{RECORDER}._take",
    "await self.reports.store(self.ledger.clock_found(by, moment))",
    "",
    f"{CLOCK}::test_a_step_while_the_daemon_was_down",
)
_break(
    "clock_step: not noticed",
    "A session hears of a step of the wall clock.",
    "camd/capture/hub.py:StreamHub.look_at_clock",
    "self._put(ClockStepped(step, self._anchor.wall))",
    "",
    f"{CLOCK}::test_a_new_file_begins_and_no_frame_is_lost",
)
_break(
    "frames_dropped_by_source: within a file",
    "Frames that a source left out are in the ledger when it has calmed down.",
    f"{RECORDER}._append",
    "await self.reports.store(dropped)",
    "",
    f"{DROPPED}::test_drops_are_entered_when_the_intervals_are_regular_again",
)
_break(
    "frames_dropped_by_source: at a seal",
    "Dropped frames that were found are in the ledger when their file is sealed.",
    f"{RECORDER}._seal_file",
    "await self.reports.store(self.ledger.enter_found_drops())",
    "",
    f"{DROPPED}::test_drops_are_entered_at_every_seal_and_at_the_end",
)
_break(
    "frames_dropped_by_source: of a capture that has ended",
    "Frames that a capture dropped before it ended have their own entry.",
    f"{RECORDER}._take",
    "await self.reports.store(self.ledger.enter_found_drops(capture_over=True))",
    "",
    f"{ENTRIES}::test_drops_of_a_capture_are_entered_at_its_exit",
)
_break(
    "frames_dropped_by_source: too slow",
    "What a source slower than real time did not deliver is in the ledger.",
    f"{LEDGER}._enter_source_lag",
    "[self._enter_lag(self.written_until, until)]",
    "[]",
    f"{SEAMS}::test_a_source_slower_than_real_time_is_in_the_ledger",
)
_break(
    "ledger: nothing at the end",
    "What is missing at the end of a session is in the ledger.",
    f"{RECORDER}.write_until_end",
    "await self.reports.store(self.ledger.finish(self.ledger.until or self.clock.now()))",
    "",
    f"{TALKS}::test_stopping_while_the_camera_rests",
)
_break(
    "ledger: lost frames not settled",
    "Lost frames are an entry, with their exact number.",
    f"{LEDGER}.enter_losses",
    "[*entries, self.enter_loss(loss)]",
    "entries",
    f"{PROBLEM}::test_no_frame_is_unaccounted_for_when_the_disk_fails",
)
_break(
    "ledger: what the disk refused",
    "An entry that the disk refused is written with the next one.",
    "camd/storage/index/recording_index.py:RecordingIndex._write",
    "refused = error",
    "refused = error\nself._unwritten.remove(unwritten)",
    "tests/pure/test_storage_index.py::test_what_the_disk_refuses_is_written_with_the_next_note",
)
_break(
    "ledger: what another folder refused",
    "An entry that a folder could not take, which is gone, is in the folder in its place.",
    "camd/storage/index/worker.py",
    "index.inherit(older)",
    "",
    "tests/process/test_storage_noted_later.py"
    "::test_what_an_older_archive_could_not_write_the_next_one_does",
)
_break(
    "ledger: index does not catch up",
    "An entry that only the journal has is in the index after the start.",
    "camd/storage/index/recording_index.py:RecordingIndex.catch_up",
    "self.database.apply(records, position)",
    "",
    "tests/pure/test_storage_index.py::test_an_index_that_lags_behind_catches_up",
)
_break(
    "ledger: given up and not counted",
    "A fact that is given up because too many wait is counted.",
    "camd/storage/rules/note_backlog.py:NoteBacklog._drop_one",
    "self.lost += 1",
    "",
    "tests/pure/test_storage_note_backlog.py::test_what_files_tell_goes_first_then_the_oldest",
)
_break(
    "timeline: jumps not cut",
    "Stamps that jump move no frame from where it belongs.",
    f"{TRACK}._placed",
    """
    if back or lag < -self._most_ahead(run, burst=burst, first=before is None):
        return self._shorten_odd(run, arrived, before, odd, back=back)
    """,
    "",
    f"{TIMELINE}::test_a_step_of_the_stamps_is_cut",
)
_break(
    "timeline: jumps without an end",
    "Stamps that jump again and again are replaced by times of arrival.",
    f"{TRACK}._shorten_odd",
    "len(self._jumps) == JUMPS and arrived - self._jumps[0] < PROOF_SECONDS",
    "False",
    f"{TIMELINE}::test_stamps_that_jump_again_and_again_are_replaced",
)
_break(
    "timeline: pauses not put back",
    "A pause that the stamps leave out is where it was.",
    f"{TRACK}._placed",
    "self._paused_for(late)",
    "False",
    f"{TIMELINE}::test_a_pause_that_is_not_stamped_is_put_back",
)
_break(
    "timeline: another pace",
    "Stamps that run slower than time are replaced by times of arrival.",
    f"{TRACK}._placed",
    "return self._distrust(run, arrived, before), TimestampFault.PACE",
    "pass",
    f"{TIMELINE}::test_stamps_with_another_pace_are_played_at_the_speed_of_arrival",
)
_break(
    "timeline: stamps that stand still",
    "Stamps that stand still are replaced by times of arrival.",
    f"{TRACK}._placed",
    """
    if still:
        return self._distrust(run, arrived, before), TimestampFault.STANDING
    """,
    "",
    f"{TIMELINE}::test_stamps_that_stand_still_are_replaced",
)
_break(
    "health: no look at what is durable",
    "A session is called healthy only while bytes become durable.",
    "camd/recording/session.py:RecordingSession._look_after_health",
    "ledger.healthy = health.good",
    "ledger.healthy = True",
    f"{PROBLEM}::test_a_disk_that_never_syncs_is_not_healthy",
)
_break(
    "removal: file before its entry",
    "A removal is in the journal before the file goes.",
    "camd/storage/removal.py:Remover._remove",
    "self.index.note(*(SegmentRemovalNoted.of(segment, why) for segment in to_delete))",
    "",
    f"{REMOVAL}::test_what_is_removed_is_gone_and_nothing_else",
)

# --- bounds ---------------------------------------------------------------------------------

_break(
    "bound: queue",
    "What waits for the disk is bounded in bytes.",
    "camd/recording/recording_queue.py:RecordingQueue.put",
    "self._bytes > self.limit_bytes and self._drop_oldest_gop()",
    "False",
    f"{QUEUE}::test_a_full_queue_drops_its_oldest_group",
)
_break(
    "bound: queue of a session",
    "A disk that hangs costs at most 64 MiB of memory a camera.",
    "camd/recording/recording_queue.py",
    "DEFAULT_LIMIT_BYTES = 64 * 1024 * 1024",
    "DEFAULT_LIMIT_BYTES = 1 << 60",
    f"{QUEUE}::test_a_disk_that_hangs_for_ever_costs_64_mebibytes",
)
_break(
    "bound: pre-roll",
    "The past that is kept is bounded in bytes.",
    "camd/capture/rules/preroll.py:PrerollBuffer.add",
    "self.size_bytes > self.limit_bytes or self._second_begins_by(needed)",
    "self._second_begins_by(needed)",
    "tests/pure/test_capture_preroll.py::test_memory_is_bounded",
)
_break(
    "bound: pre-roll in time",
    "No more of the past is kept than may be asked for.",
    "camd/capture/rules/preroll.py:PrerollBuffer.add",
    "self.size_bytes > self.limit_bytes or self._second_begins_by(needed)",
    "self.size_bytes > self.limit_bytes",
    "tests/pure/test_capture_preroll.py::test_no_more_than_needed_is_kept",
)
_break(
    "frames: durations beside the sound of streams",
    "FFmpeg does not replace the stamps of pictures by durations that it guesses.",
    "camd/ffmpeg/text/args.py:_copied_video",
    'stamps += ":duration=1"',
    "pass",
    f"{ARGUMENTS}::test_pictures_beside_sound_say_how_long_they_last",
)
_break(
    "frames: durations beside sound",
    "A picture lasts until the next one, whatever ends its fragment.",
    "camd/ffmpeg/text/args.py:_durations",
    'lasts = "if(eq(DTS,NOPTS),1,if(eq(NEXT_DTS,NOPTS),DURATION,max(1,NEXT_DTS-DTS)))"',
    'lasts = "DURATION"',
    "tests/process/test_capture_sound_frames.py"
    "::test_encoded_pictures_beside_sound_keep_their_intervals[bundled-rate changes-mjpeg]",
)
_break(
    "frames: presentation times beside sound",
    "Setting durations leaves the order of pictures as it is.",
    "camd/ffmpeg/text/args.py:_durations",
    """f"setts=pts=PTS:dts=DTS:duration='{lasts}'\"""",
    """f"setts=duration='{lasts}'\"""",
    "tests/process/test_capture_sound_frames.py"
    "::test_copied_pictures_beside_sound_have_the_times_of_the_source[bundled-b-frames]",
)
_break(
    "frames: looped files with sound",
    "A file in a loop does not end with its first round.",
    "camd/ffmpeg/text/args.py:_durations",
    "options.copy and options.source.loops",
    "False",
    f"{ARGUMENTS}::test_pictures_beside_sound_say_how_long_they_last",
)
_break(
    "frames: pictures that follow each other closely",
    "Sound is gathered only where no picture comes so soon.",
    "camd/ffmpeg/text/args.py:_sound_gathered",
    "0 < fps <= EACH_PICTURE_FPS",
    "fps > 0",
    f"{ARGUMENTS}::test_each_picture_is_a_fragment",
)
_break(
    "frames: the last packet of sound",
    "A packet before a short last one keeps its time.",
    "camd/mp4/restamp.py:_late_sound",
    "run.count == 2",
    "run.count < 2",
    "tests/pure/test_mp4_first_samples.py::test_sound_that_merely_jitters_stays",
)
_break(
    "reads: sound behind the newest picture",
    "Sound does not change how often the output is read.",
    "camd/capture/process.py:CaptureProcess._hand_on",
    "if frames:\n    self._frame_seconds = event.duration_seconds if frames == 1 else 0.0",
    "self._frame_seconds = event.duration_seconds if frames == 1 else 0.0",
    "tests/process/test_capture_frames.py::test_sound_behind_a_picture_wakes_nobody",
)
_break(
    "joined: durations that are not known",
    "Pictures whose durations are not known are joined all the same.",
    "camd/capture/rules/joining.py:_JoinedTrack.is_followed_by",
    "max(self.last, self.usual)",
    "self.last",
    f"{JOINING}::test_frames_whose_durations_are_not_known_are_joined",
)
_break(
    "frames: other bytes",
    "What differs from a known fragment in more than its numbers is read in full.",
    "camd/mp4/frames/frame_forms.py:FrameForm.is_begun_by",
    "int.from_bytes(begin, 'big') & self.mask >> missing == self.like >> missing",
    "True",
    f"{FRAMES}::test_the_same_is_found_as_by_the_full_reader",
)
_break(
    "frames: samples beside their box",
    "Samples that do not lie one behind the other are read in full, and refused there.",
    "camd/mp4/frames/frame_forms.py:FrameForm.size_of",
    "numbers[run.offset] != end",
    "False",
    f"{FRAMES}::test_samples_that_are_said_to_lie_elsewhere_are_refused",
)
_break(
    "frames: size of a box",
    "A box that is larger or smaller than its samples is read in full.",
    "camd/mp4/frames/frame_forms.py:FrameForm.size_of",
    "size != numbers[self.mdat] or size > _MDAT_LIMIT",
    "False",
    f"{FRAMES}::test_a_box_that_is_not_as_large_as_its_samples_is_read_in_full",
)
_break(
    "frames: inside a fragment",
    "Bytes are compared only where a fragment can begin.",
    "camd/mp4/frames/frame_fragments.py:FrameFragmentReader._step",
    "self._full.between_fragments",
    "True",
    f"{FRAMES}::test_the_same_is_found_as_by_the_full_reader",
)
_break(
    "bound: kinds of fragments",
    "A stream whose fragments are all different takes no memory for them.",
    "camd/mp4/frames/frame_fragments.py:FrameFragmentReader._learn",
    "[form, *self._forms][:MAX_FORMS]",
    "[form, *self._forms]",
    f"{FRAMES}::test_no_more_kinds_are_remembered_than_a_few",
)
_break(
    "joined: time of a gap",
    "Frames that are joined keep their decode times.",
    "camd/mp4/frames/join.py:_joined",
    "durations[-1] = lasts",
    "",
    "tests/pure/test_mp4_join.py::test_a_sample_lasts_until_the_next_one_of_its_track",
)
_break(
    "joined: key frame inside",
    "A key frame begins a fragment, so that a file can begin with it.",
    "camd/capture/rules/joining.py:FragmentJoiner.closes_before",
    "begins or fragment.frames > 1 or not self._continues(fragment)",
    "fragment.frames > 1 or not self._continues(fragment)",
    f"{JOINING}::test_a_key_frame_begins_a_fragment",
)
_break(
    "joined: gap inside",
    "Missing frames are between fragments, and are not made a long frame.",
    "camd/capture/rules/joining.py:_JoinedTrack.is_followed_by",
    "off == 0 or -self.last < off <= max(self.last, self.usual)",
    "True",
    f"{JOINING}::test_a_gap_ends_a_fragment",
)
_break(
    "joined: too late",
    "What is neither read nor joined is never longer than a fragment and a frame (I2).",
    "camd/capture/hub.py:StreamHub.caught_up",
    "left < min(seconds, SHORTEST_READ_SHARE * self.fragment_seconds)",
    "False",
    f"{HUB_FRAMES}::test_a_pipe_is_read_again_before_more_than_a_fragment_waits",
)
_break(
    "joined: read too late",
    "A pipe is read again before more than a fragment waits in it (I2).",
    "camd/capture/hub.py:StreamHub.caught_up",
    "min(seconds, self._joiner.seconds_left)",
    "seconds",
    f"{HUB_FRAMES}::test_a_pipe_is_read_again_before_more_than_a_fragment_waits",
)
_break(
    "rounds: read as late as usual",
    "A pipe is read as early as its reader asks.",
    "camd/runtime/pipe_poller.py:PolledPipe.read",
    "self.seconds = more.value",
    "",
    f"{PIPES}::test_a_pipe_is_read_as_early_as_its_reader_asks",
)
_break(
    "rounds: all pipes in each",
    "A pipe that is due much later is not read in a round of others.",
    "camd/runtime/pipe_poller.py:PipePoller._round",
    "reading.due <= together and not reading.over.is_set()",
    "not reading.over.is_set()",
    f"{PIPES}::test_a_pipe_is_read_as_early_as_its_reader_asks",
)
_break(
    "joined: stamps that stand still",
    "Frames whose time stamps do not advance are joined by the time that they took to arrive.",
    "camd/capture/rules/joining.py:FragmentJoiner.add",
    "self._complete |= self._arriving_seconds > ARRIVAL_FACTOR * self.seconds",
    "",
    f"{JOINING}::test_stamps_that_do_not_keep_real_time_hold_nothing_back",
)
_break(
    "bound: frames that are not joined",
    "Large frames are joined before there are too many.",
    "camd/capture/rules/joining.py:FragmentJoiner.add",
    "fragment.frames > 1 or self._bytes >= LIMIT_BYTES",
    "fragment.frames > 1",
    f"{JOINING}::test_large_frames_are_joined_up_to_a_bound",
)
_break(
    "joined: end of a capture",
    "The last frames of a capture are joined and recorded.",
    "camd/capture/hub.py:StreamHub.end",
    "self._close_fragment()",
    "",
    f"{HUB_FRAMES}::test_a_recording_gets_its_first_frame_at_once_and_the_others_joined",
)
_break(
    "joined: first frame",
    "A start is durable after one frame.",
    "camd/capture/hub.py:StreamHub.deliver",
    "self._joiner.is_complete or (hurried and self._begins_somebody(fragment))",
    "self._joiner.is_complete",
    f"{HUB_FRAMES}::test_a_recording_gets_its_first_frame_at_once_and_the_others_joined",
)
_break(
    "joined: pictures before a key frame",
    "Pictures that are shown before a file's key frame are counted in its first fragment.",
    "camd/capture/hub.py:StreamHub._begins_somebody",
    "waits and self._joiner.is_separable",
    "waits",
    f"{HUB_FRAMES}::test_a_file_begins_with_the_pictures_that_are_shown_before_its_key_frame",
)
_break(
    "frames: what is not joined yet",
    "A viewer that comes gets the frames since the last key frame, each once.",
    "camd/capture/hub.py:StreamHub._with_unjoined",
    "[*held, *rest] if held or begins else []",
    "held",
    f"{HUB_FRAMES}::test_a_viewer_begins_with_the_newest_key_frame_and_what_is_not_joined_yet",
)
_break(
    "frames: end of a stop",
    "A stop takes all frames that are in the pipe.",
    "camd/capture/hub.py:StreamHub.deliver",
    "attachment.in_flight |= attachment.finishing",
    "",
    f"{HUB_FRAMES}::test_a_stop_takes_what_is_in_the_pipe",
)
_break(
    "frames: times that go back",
    "The times of a viewer's frames always grow, whatever the camera's stamps do.",
    "camd/capture/rules/frame_times.py:_FrameTrack.place",
    "not self.last < start <= self.end + track.longest_usual",
    "False",
    f"{HUB_FRAMES}::test_frames_have_the_times_of_the_fragments_that_they_are_joined_to",
)
_break(
    "frames: wake-up",
    "Who comes is not kept waiting for the next read.",
    "camd/capture/process.py:CaptureProcess._follow_hurry",
    "self._read_now()",
    "",
    f"{FRAME_READS}::test_who_comes_wakes_the_reader",
)
_break(
    "bound: pause of a pipe that fills",
    "Frames are read sooner where they would fill the pipe.",
    "camd/capture/process.py:CaptureProcess._make_room",
    "longer if size <= share else self._pause_seconds * share / size",
    "longer",
    f"{FRAME_READS}::test_frames_that_would_fill_the_pipe_are_read_sooner",
)
_break(
    "bound: pre-roll of a session",
    "The configured size of the past holds.",
    "camd/capture/hub.py",
    "GOP_LIMIT_BYTES = 32 * 1024 * 1024",
    "GOP_LIMIT_BYTES = 1 << 60",
    "tests/actors/test_capture_hub.py::test_a_group_without_an_end_costs_32_mebibytes",
)
_break(
    "bound: box sizes",
    "A box that says that it is larger than allowed is refused at its header.",
    "camd/mp4/boxes.py:BoxReader._validate_limit",
    "size > limit",
    "False",
    f"{BOXES}::test_impossible_or_oversized_headers_raise_at_once",
)
_break(
    "bound: boxes without a size",
    "A box that reaches to the end of the stream is bounded, too.",
    "camd/mp4/boxes.py:BoxReader._split",
    "self._validate_limit(self._header.kind, len(self._buffer))",
    "",
    f"{BOXES}::test_limits_hold_for_boxes_without_a_size_too",
)
_break(
    "bound: mdat",
    "A fragment of a capture is at most 64 MiB.",
    "camd/mp4/boxes.py",
    "64 * _MIB",
    "64 * _MIB * _MIB",
    f"{BOUNDS}::test_a_child_cannot_make_a_box_grow_without_end",
)
_break(
    "bound: boxes of no known kind",
    "A box that nobody knows is at most 1 MiB.",
    "camd/mp4/boxes.py",
    "DEFAULT_LIMIT = _MIB",
    "DEFAULT_LIMIT = _MIB * _MIB",
    f"{BOUNDS}::test_a_child_cannot_make_a_box_grow_without_end",
)
_break(
    "bound: boxes without footage",
    "A stream of boxes without samples is refused.",
    "camd/mp4/fragments.py:FragmentReader",
    "self._idle > MAX_IDLE_BOXES",
    "False",
    f"{FRAGMENTS}::test_a_stream_of_boxes_without_samples_is_refused_soon",
)
_break(
    "bound: boxes in a box",
    "A box with too many boxes in it is refused without walking them.",
    "camd/mp4/boxes.py:children",
    "left < 0",
    "False",
    f"{FRAGMENTS}::test_a_moof_full_of_boxes_is_refused_without_walking_them",
)
_break(
    "bound: NAL units of a sample",
    "A sample of too many NAL units is refused.",
    "camd/mp4/h26x/parameter_sets.py:nal_units_in",
    "range(MAX_NAL_UNITS)",
    "range(1 << 40)",
    "tests/pure/test_mp4_parameter_sets.py::test_a_sample_of_endless_units_is_refused",
)
_break(
    "bound: boxes of a damaged file",
    "A damaged size in a file makes nobody read gigabytes.",
    "camd/mp4/interrupted.py:_size_of",
    "size if header[4:8] == kind and 8 <= size <= DEFAULT_LIMITS[kind] else 0",
    "size if header[4:8] == kind and 8 <= size else 0",
    f"{BOUNDS}::test_a_damaged_size_makes_nobody_read_gigabytes",
)
_break(
    "bound: final index of a file",
    "A file whose index seems to be enormous is not read into memory.",
    "camd/storage/recovery/file_recovery.py:_describe_sealed",
    "not moov_offset < size <= moov_offset + MOOV_LIMIT",
    "not moov_offset < size",
    f"{BOUNDS}::test_a_file_with_an_enormous_index_is_not_read",
)
_break(
    "bound: speed of a file",
    "A file that nothing slows down is at most a second ahead of real time.",
    "camd/capture/process.py:ReadThrottle.ahead_seconds",
    "self._played / self.speed - (now - self._begin) - AHEAD_SECONDS",
    "0.0",
    "tests/pure/test_capture_pacing.py::test_a_source_may_be_ahead_by_a_second_and_no_more",
)
_break(
    "bound: speed of a file, its pipe",
    "What a file delivers too early is left in its pipe.",
    "camd/capture/process.py:CaptureProcess._read",
    "await self._slow_down()",
    "",
    f"{RUN}::test_a_file_that_comes_too_fast_is_left_in_its_pipe",
)
_break(
    "bound: arrivals that are remembered",
    "What is remembered of a stream's arrivals is bounded.",
    f"{TRACK}._note",
    "len(self._arrivals) > 2 and arrived - self._arrivals[1].at > keep",
    "False",
    f"{TIMELINE}::test_memory_is_bounded",
)
_break(
    "bound: words of a program",
    "A program that is asked something, and does not stop talking, is ended.",
    "camd/runtime/query_process.py:_OutputReader.read",
    "len(buffer) >= self.max_bytes",
    "False",
    f"{ASKING}::test_a_program_that_never_stops_talking_is_ended",
)
_break(
    "bound: time of a program",
    "A program that is asked something, and takes too long, is ended.",
    "camd/runtime/query_process.py:run_program",
    "trio.move_on_after(seconds)",
    "trio.CancelScope()",
    f"{ASKING}::test_a_program_that_takes_too_long_is_ended",
)
_break(
    "bound: processes that outlive FFmpeg",
    "A process that FFmpeg started, and that holds its pipe, delays the end by seconds only.",
    "camd/capture/process.py:CaptureProcess.run",
    "nursery.start_soon(self._end_drain, process)",
    "",
    f"{ASKING}::test_a_capture_ends_although_its_pipe_is_held",
)
_break(
    "bound: what is parsed at once",
    "Others have their turns while a full pipe is parsed.",
    "camd/capture/process.py:CaptureProcess._parse",
    "await trio.lowlevel.checkpoint()",
    "",
    "tests/actors/test_camera_turns.py::test_others_have_their_turns_while_a_full_pipe_is_parsed",
)
_break(
    "bound: what is handed on at once",
    "Others have their turns while what was read at once is handed on.",
    "camd/capture/process.py:CaptureProcess._hand_on_in_turns",
    "await trio.lowlevel.checkpoint()",
    "",
    "tests/actors/test_camera_turns.py::test_others_have_their_turns_while_a_full_pipe_is_parsed",
)
_break(
    "bound: words of a conversion",
    "Only the end of what a conversion's FFmpeg says is kept.",
    "camd/runtime/child_process.py:keep_last",
    "del kept[:-most_bytes]",
    "",
    f"{BOUNDS}::test_a_program_that_talks_without_end_takes_no_memory",
)
_break(
    "bound: a line of FFmpeg's messages",
    "A line of stderr without an end takes no memory.",
    "camd/ffmpeg/text/output.py:FFmpegLog.take",
    "self._incomplete = self._incomplete[-LONGEST_LINE_BYTES:]",
    "",
    f"{RUN}::test_a_line_without_an_end_takes_no_memory",
)
_break(
    "bound: all of FFmpeg's messages",
    "Only the last messages of an FFmpeg process are kept.",
    "camd/ffmpeg/text/output.py:FFmpegLog",
    "lambda: deque(maxlen=KEPT_LINES)",
    "deque",
    "tests/pure/test_ffmpeg_log.py::test_only_the_last_lines_are_kept",
)
_break(
    "bound: wait for the last words",
    "A grandchild that holds the pipe of stderr delays the end by a second at most.",
    "camd/capture/process.py:CaptureProcess.run",
    "trio.move_on_after(ERRORS_END_SECONDS)",
    "trio.CancelScope()",
    f"{RUN}::test_a_pipe_that_stays_open_delays_the_end_by_a_second",
)
_break(
    "bound: wait for an FFmpeg process without output",
    "An FFmpeg process that closes its output and does not exit is ended.",
    "camd/capture/process.py:CaptureProcess._wait",
    "trio.move_on_after(self.timeouts.end_seconds)",
    "trio.CancelScope()",
    f"{RUN}::test_a_process_that_closes_its_output_and_stays_is_ended",
)
_break(
    "bound: silence of a camera",
    "A camera that stops delivering is noticed after the configured time.",
    "camd/capture/process.py:CaptureProcess._progressed",
    "self._deadline = self.clock.monotonic() + seconds",
    'self._deadline = float("inf")',
    f"{RUN}::test_a_process_that_stops_delivering_is_reported",
)
_break(
    "bound: silence at the start",
    "A camera that never delivers is given up after the configured time.",
    "camd/capture/process.py:CaptureProcess._read",
    "self._deadline = self._arrived + self.timeouts.start_seconds * self.timeouts.steps",
    'self._deadline = float("inf")',
    f"{RUN}::test_a_process_that_never_delivers_is_reported",
)
_break(
    "bound: sound without pictures",
    "Sound alone extends a start by so long at most.",
    "camd/capture/process.py:CaptureProcess._extend_start",
    "min(now + start, longest)",
    "now + start",
    f"{RUN}::test_a_camera_that_sends_sound_alone_is_reported",
)
_break(
    "bound: silence in rounds",
    "A camera that falls silent is noticed although its pipe is read in rounds.",
    "camd/capture/process.py:CaptureProcess._read_in_rounds",
    "trio.move_on_after(self._deadline - self.clock.monotonic())",
    "trio.CancelScope()",
    f"{PIPES}::test_a_child_that_falls_silent_in_a_round_is_noticed",
)
_break(
    "bound: pipe that fills up",
    "A pipe that would fill up between two rounds is read as soon as it can be.",
    "camd/capture/process.py:CaptureProcess._may_wait",
    "self.read_seconds >= SHORTEST_SECONDS and flow.may_wait",
    "self.read_seconds >= SHORTEST_SECONDS",
    f"{PIPES}::test_a_large_fragment_is_read_without_waiting",
)
_break(
    "bound: one pipe in a round",
    "A process that always has more output does not keep the others waiting.",
    "camd/runtime/pipe_poller.py:PolledPipe.read",
    "left -= max(1, size)",
    "left -= 1",
    f"{PIPES}::test_a_pipe_that_is_never_empty_is_left_for_the_next_round",
)
_break(
    "bound: end of an FFmpeg process",
    "A stop does not wait for the next round.",
    "camd/capture/process.py:CaptureProcess.stop",
    "self._read_now()",
    "",
    f"{PIPES}::test_a_stop_is_not_delayed_by_rounds",
)
_break(
    "bound: SIGTERM",
    "A process that ignores SIGTERM is killed.",
    "camd/runtime/child_process.py:ChildProcess.end",
    "trio.move_on_after(timeout_seconds)",
    "trio.CancelScope()",
    f"{SPAWN}::test_a_child_that_ignores_the_request_is_killed",
)
_break(
    "bound: wait for frames in flight",
    "A stop waits four seconds for frames of a camera that is stuck.",
    "camd/recording/session.py:RecordingSession._end_input_when_told",
    "await trio.sleep(DRAIN_SECONDS)",
    "await trio.sleep_forever()",
    f"{TALKS}::test_stopping_while_the_camera_is_stuck",
)
_break(
    "bound: retries of a disk",
    "A disk that goes on failing is tried more and more rarely, up to a bound.",
    "camd/recording/rules/durability.py:WriteBackoff.failed",
    "RETRY_DELAY.after(self._failures)",
    "RETRY_DELAY.after(1)",
    "tests/pure/test_recording_backoff.py::test_each_error_in_a_row_waits_longer",
)
_break(
    "bound: size of a file",
    "No file grows beyond the size that was asked for.",
    "camd/recording/rules/rotation.py:Rotation.due",
    "self.max_bytes is not None and size_bytes + next_bytes > self.max_bytes",
    "False",
    f"{SESSIONS}::test_rotation_is_due_by_time_or_size",
)
_break(
    "bound: mailbox",
    "Who asks an actor whose mailbox is full waits.",
    "camd/runtime/actor.py:Mailbox.__attrs_post_init__",
    "trio.open_memory_channel(self.size)",
    'trio.open_memory_channel(float("inf"))',
    "tests/actors/test_runtime_mailbox.py::test_asks_are_taken_in_order_and_a_full_mailbox_waits",
)
_break(
    "bound: send queue, messages",
    "So many messages wait for a client at most.",
    "camd/server/send_queue.py:SendQueue.put",
    "len(self._items) >= self.max_messages",
    "False",
    f"{SERVER_BOUNDS}::test_a_send_queue_is_bounded_by_number_and_by_size",
)
_break(
    "bound: send queue, characters",
    "So many characters wait for a client at most.",
    "camd/server/send_queue.py:SendQueue.put",
    "self._items and self._characters + len(text) > self.max_characters",
    "False",
    f"{SERVER_BOUNDS}::test_a_send_queue_is_bounded_by_number_and_by_size",
)
_break(
    "bound: message of a client",
    "A message that is larger than allowed ends its connection.",
    "camd/server/websocket.py:MessageMeter._begin_frame",
    "self._message_bytes > self.max_message_bytes or self._fragments > self.max_fragments",
    "self._fragments > self.max_fragments",
    f"{SERVER_BOUNDS}::test_the_meter_adds_up_fragments_wherever_the_stream_is_cut",
)
_break(
    "bound: fragments of a message",
    "A message of too many fragments ends its connection.",
    "camd/server/websocket.py:MessageMeter._begin_frame",
    "self._message_bytes > self.max_message_bytes or self._fragments > self.max_fragments",
    "self._message_bytes > self.max_message_bytes",
    f"{CONNECTIONS}::test_a_flood_of_empty_fragments_is_cut_off",
)
_break(
    "bound: message in one frame",
    "The limit holds for a message in one short frame, too.",
    "camd/server/websocket.py:MessageMeter.count",
    "size - 6 <= self.max_message_bytes",
    "True",
    f"{SERVER_BOUNDS}::test_the_meter_adds_up_fragments_wherever_the_stream_is_cut",
)
_break(
    "bound: control frames",
    "A control frame has at most 125 bytes.",
    "camd/server/websocket.py:MessageMeter._begin_frame",
    "length <= 125",
    "True",
    f"{SERVER_BOUNDS}::test_a_control_frame_is_short",
)
_break(
    "bound: id of a call",
    "An id that must come back is bounded.",
    "camd/rpc/codec.py:_valid_id",
    'len(text) > MAX_ID_BYTES or text[:1] in b"[{tf"',
    'text[:1] in b"[{tf"',
    "tests/pure/test_rpc_codec.py::test_an_id_of_another_kind_is_refused",
)
_break(
    "bound: calls of a batch",
    "A batch of too many calls is refused.",
    "camd/rpc/codec.py:_batch",
    "len(parts) > MAX_BATCH",
    "False",
    "tests/pure/test_rpc_codec.py::test_what_is_no_request_is_refused",
)
_break(
    "bound: calls in flight",
    "A client has so many calls in flight at most.",
    "camd/server/connection.py:Connection._prepare",
    "not prepared.method.immediate and len(self._running) >= shared.max_calls_in_flight",
    "False",
    f"{CALLS}::test_more_calls_than_allowed_at_a_time_are_refused",
)
_break(
    "role of a method",
    "Nobody reaches a method above their role.",
    "camd/rpc/registry.py:Registry.prepare",
    "not role.includes(found.role)",
    "False",
    f"{CONVERSATIONS}::test_nobody_reaches_a_method_above_their_role",
)
_break(
    "key for the list of cameras",
    "The list of cameras over HTTP needs a key.",
    "camd/api/camera_methods.py:CameraRoutes.routes",
    "(refusal := await authenticate(request)) is not None",
    "(refusal := None) is not None",
    f"{CONVERSATIONS}::test_the_pages_of_components",
)
_break(
    "an answer to each call of a batch",
    "A batch is answered by one array with an answer to each call that has an id.",
    "camd/rpc/codec.py:_batch",
    "Incoming(tuple(_batched(part) for part in parts), batch=True)",
    "Incoming(tuple(_batched(part) for part in parts))",
    f"{JSONRPC}::test_every_request_with_an_id_gets_exactly_one_answer",
    f"{JSONRPC}::test_examples_of_the_specification",
)
_break(
    "no answer to a notification",
    "A call without an id gets no answer.",
    "camd/server/connection.py:Connection._refused",
    "id_text is None",
    "False",
    f"{JSONRPC}::test_examples_of_the_specification",
)
_break(
    "format of a source that is copied",
    "A source that is copied keeps the format that it had the last time.",
    "camd/capture/planner.py:CapturePlanner.expected",
    'asked == "auto" and holds in COPIED_CODECS',
    "False",
    "tests/pure/test_api_capabilities.py::test_what_a_source_will_deliver",
)
_break(
    "format of a source that was never asked",
    "Of a source that was never asked, no codec is made up.",
    "camd/capture/planner.py:CapturePlanner.expected",
    'asked == "auto" and certain',
    'asked == "auto"',
    "tests/pure/test_api_capabilities.py::test_what_a_source_will_deliver",
)
_break(
    "the parameter that is wrong",
    "An invalid parameter is named also where it does not fit the present state.",
    "camd/errors.py:wrong_param",
    '[{"path": path, "message": message}]',
    "[]",
    f"{CONVERSATIONS}::test_every_method_answers_as_it_is_written",
)
_break(
    "bound: connections",
    "So many clients are connected at most.",
    "camd/server/rules/connection_limits.py:ConnectionLimits.mark_authenticated",
    "len(self._authenticated) >= self.max_authenticated + reserved",
    "False",
    f"{CONNECTIONS}::test_a_connection_above_the_limit_is_told_to_try_later",
)
_break(
    "bound: clients that have not authenticated",
    "So many clients that have not authenticated are connected at most.",
    "camd/server/rules/connection_limits.py:ConnectionLimits.add",
    "self._count > self.max_unauthenticated",
    "False",
    f"{CONNECTION_LIMITS}::test_the_address_with_most_connections_loses_its_oldest",
    f"{UNAUTHENTICATED}::test_a_websocket_that_is_closed_for_a_limit_is_told_why",
)
_break(
    "bound: time to authenticate",
    "A client that does not authenticate in time is closed.",
    f"{CONNECTION}._limit_authentication_time",
    'self.end(POLICY, "not authenticated in time")',
    "",
    f"{UNAUTHENTICATED}::test_a_client_that_does_not_authenticate_in_time_is_closed",
)
_break(
    "bound: time without a valid key",
    "A client whose key has expired or was revoked is closed.",
    f"{CONNECTION}._watch_credentials",
    'self.end(POLICY, "the key is no longer valid")',
    "",
    f"{UNAUTHENTICATED}::test_a_client_whose_key_is_no_longer_valid_is_closed",
)
_break(
    "bound: message of a client that has not authenticated",
    "A client that has not authenticated sends small messages only.",
    f"{CONNECTION}.serve",
    "self.socket.limit(min(UNAUTHENTICATED_BYTES, self.shared.max_message_bytes))",
    "",
    f"{UNAUTHENTICATED}::test_large_messages_need_authentication",
)
_break(
    "bound: rate of wrong keys",
    "A client that sends wrong keys waits for its answers.",
    f"{CONNECTION}._delay_refusal",
    "await self.shared.authenticator.delay_refusal(self.address, reason)",
    "",
    f"{UNAUTHENTICATED}::test_wrong_keys_are_delayed_and_logged",
)
_break(
    "bound: wrong keys of a connection",
    "A connection on which so many wrong keys were shown ends.",
    f"{CONNECTION}._delay_refusal",
    "self._wrong_keys >= MAX_WRONG_KEYS",
    "False",
    f"{UNAUTHENTICATED}::test_wrong_keys_are_delayed_and_logged",
)
_break(
    "bound: rate of wrong keys of an address",
    "The more wrong keys come from an address, the longer it waits.",
    f"{THROTTLE}.record_failure",
    "min(MAX_DELAY_SECONDS, max(0.0, score.add(now, MAX_SCORE) - BURST) / PER_SECOND)",
    "0.0",
    f"{CONNECTION_LIMITS}::test_more_wrong_keys_wait_longer",
)
_break(
    "bound: wait for a wrong key",
    "However many wrong keys come from an address, a wait ends.",
    f"{THROTTLE}.record_failure",
    "min(MAX_DELAY_SECONDS, max(0.0, score.add(now, MAX_SCORE) - BURST) / PER_SECOND)",
    "max(0.0, score.add(now, MAX_SCORE) - BURST) / PER_SECOND",
    f"{CONNECTION_LIMITS}::test_more_wrong_keys_wait_longer",
)
_break(
    "bound: connections of an address with wrong keys",
    "New connections of an address that showed many wrong keys wait.",
    f"{THROTTLE}.connection_delay",
    "CONNECTION_DELAY_SECONDS if score is not None and score.at(now) > BURST else 0.0",
    "0.0",
    f"{CONNECTION_LIMITS}::test_more_wrong_keys_wait_longer",
)
_break(
    "bound: wrong keys of all addresses",
    "While wrong keys come from many addresses, connections are taken more slowly.",
    f"{THROTTLE}.accept_delay",
    "ACCEPT_DELAY_SECONDS if self._all.at(now) > ALL_BURST else 0.0",
    "0.0",
    f"{CONNECTION_LIMITS}::test_wrong_keys_of_many_addresses_delay_all_connections",
)
_break(
    "bound: addresses with wrong keys",
    "So many addresses with wrong keys are stored at most.",
    f"{THROTTLE}.record_failure",
    "len(self._scores) > MAX_ADDRESSES",
    "False",
    f"{CONNECTION_LIMITS}::test_wrong_keys_of_many_addresses_delay_all_connections",
)
_break(
    "bound: notifications that wait for an answer",
    "So many notifications wait for the answer to a call at most.",
    "camd/server/rules/answers.py:NotificationHold.offer",
    "len(self._held) <= MAX_HELD",
    "True",
    f"{HOLD}::test_what_waits_is_bounded",
)
_break(
    "bound: wait for an answer",
    "A call that does not end holds notifications back for a time only.",
    "camd/server/rules/answers.py:NotificationHold.release_overdue",
    "now - claim.since >= HOLD_SECONDS",
    "False",
    f"{HOLD}::test_a_call_that_hangs_holds_notifications_for_a_time_only",
)
_break(
    "bound: no answer to a ping",
    "A client that does not answer pings is dropped.",
    "camd/server/connection.py:Connection._watch_liveness",
    "trio.move_on_after(PONG_SECONDS)",
    "trio.CancelScope()",
    f"{CONNECTIONS}::test_a_client_without_pongs_is_disconnected",
)
_break(
    "bound: client that does not read",
    "A client that takes nothing is dropped.",
    "camd/server/connection.py:Connection._watch_liveness",
    "self.socket.stalled_seconds >= STALL_SECONDS",
    "False",
    f"{CONNECTIONS}::test_a_client_that_stops_reading_is_told_why",
)
_break(
    "bound: half a handshake",
    "A handshake that is not finished is not waited for.",
    "camd/server/http_connection.py:HttpConnection._next_request",
    "trio.move_on_after(limits.head_seconds)",
    "trio.CancelScope()",
    f"{CONNECTIONS}::test_half_a_handshake_is_not_waited_for",
)
_break(
    "bound: body of a request",
    "A body that is larger than allowed is not read.",
    "camd/server/http_connection.py:HttpConnection._respond",
    "int(length) > self.config.limits.body_bytes",
    "False",
    f"{HTTP}::test_what_cannot_be_served_is_answered",
)
_break(
    "bound: idle connection",
    "A connection on which nothing happens ends.",
    "camd/server/http_connection.py:HttpConnection._wait_for_request",
    "trio.move_on_after(timeout)",
    "trio.CancelScope()",
    f"{HTTP}::test_an_idle_connection_ends",
)
_break(
    "bound: download that stalls",
    "A client that takes nothing of its download is dropped.",
    "camd/server/http_connection.py:HttpConnection._send_piece",
    "trio.move_on_after(self.config.limits.stall_seconds)",
    "trio.CancelScope()",
    f"{HTTP}::test_a_reader_that_stalls_is_dropped",
)
_break(
    "bound: rate of calls",
    "A client that calls too often is told when to go on.",
    "camd/server/connection.py:Connection._prepare",
    "self._bucket.per_minute and (wait_ms := self._bucket.take(trio.current_time()))",
    "False",
    f"{CALLS}::test_the_rate_limit_says_when_to_go_on",
)
_break(
    "bound: facts that wait for the disk",
    "While nothing can be written, so many facts wait in memory at most.",
    "camd/storage/rules/note_backlog.py:NoteBacklog.add",
    "len(self._waiting) > self.most",
    "False",
    "tests/pure/test_storage_index.py::test_the_facts_that_wait_for_the_disk_are_bounded",
    "tests/pure/test_storage_note_backlog.py::test_what_files_tell_goes_first_then_the_oldest",
)
_break(
    "bound: problems of a round",
    "So many problems of a round of verification are kept at most.",
    "camd/storage/verify/rules/scrub_progress.py:ScrubRun.verified",
    "(*self.problems, *found)[:MAX_PROBLEMS]",
    "(*self.problems, *found)",
    "tests/pure/test_storage_scrub_progress.py::test_a_round_counts_what_was_checked",
)
_break(
    "bound: files of a plan",
    "So many files that stay are listed in a plan at most.",
    "camd/storage/rules/retention_plan.py",
    "len(self._kept) < MAX_LISTED",
    "True",
    "tests/pure/test_storage_retention.py::test_a_long_list_of_what_stays_is_cut",
)
_break(
    "bound: file of the journal",
    "A journal that is long enough goes on in another file.",
    f"{JOURNAL}:IndexJournal._writable",
    "self.position.offset >= self.max_file_bytes",
    "False",
    f"{JOURNALS}::test_a_long_journal_has_several_files",
)
_break(
    "bound: marker of a pin",
    "A marker that somebody made enormous is not read whole.",
    "camd/storage/removal.py:Pins.find",
    "file.read(0, _MAX_BYTES)",
    "file.read(0, 1 << 40)",
    f"{BOUNDS}::test_an_enormous_marker_is_a_pin_and_is_not_read_whole",
)
_break(
    "bound: answer of the index",
    "A question to an index that does not answer is refused.",
    "camd/storage/index/worker.py:IndexWorker.read",
    "trio.move_on_after(self.limits.read_timeout_seconds)",
    "trio.CancelScope()",
    f"{BOUNDS}::test_an_index_that_does_not_answer_is_a_refusal",
)
_break(
    "bound: look at a volume",
    "A volume that does not answer a look is unresponsive.",
    "camd/storage/space.py:SpaceMonitor._watch_samples",
    "await trio.sleep_until(begun + self.limits.sample_timeout_seconds)",
    "await trio.sleep_forever()",
    "tests/process/test_storage_space.py::test_a_hung_volume_is_a_level_until_it_answers",
)
_break(
    "bound: call to the disk",
    "A call to the disk that does not return is a level.",
    "camd/storage/space.py:SpaceMonitor._assess",
    "pending >= self.limits.hang_seconds",
    "False",
    "tests/process/test_storage_hangs.py::test_a_sync_that_hangs_delays_nobody_and_shows",
)
_break(
    "bound: syncs that are remembered",
    "The times of the latest syncs are kept, and no more.",
    "camd/storage/rules/io_stats.py",
    "lambda: deque(maxlen=WINDOW_SYNCS)",
    "deque",
    "tests/pure/test_storage_io_stats.py::test_old_syncs_are_forgotten",
)
_break(
    "stamps: jumps in one fragment",
    "Each jump of time stamps counts, also of several in one fragment.",
    f"{TRACK}._shorten_odd",
    "self._jumps.extend([arrived] * max(1, len(odd) + back))",
    "self._jumps.append(arrived)",
    f"{STAMP_FAULTS}::test_jumps_in_one_fragment_count_each",
)
_break(
    "drops: stamps beside a jump",
    "Short drops beside a jump of the time stamps are none.",
    f"{LEDGER}.wrote",
    """
    if captured.vague:
        self.drops.doubt()
    """,
    "",
    f"{STAMP_FAULTS}::test_a_short_drop_before_a_jump_is_none",
)
_break(
    "drops: denied by arrivals",
    "A step of the time stamps is no loss where no time passes between arrivals.",
    "camd/recording/rules/source_drops.py",
    "self._evidence.denies(at.end, drop.seconds, at.earliest)",
    "False",
    f"{STAMP_FAULTS}::test_faults_of_stamps_are_no_loss",
)
_break(
    "drops: confirmed by arrivals",
    "A drop is judged by the arrivals of the seconds behind it.",
    "camd/recording/rules/source_drops.py",
    "return self._last is None or self._last < interval.end + CONFIRMING_SECONDS",
    "return False",
    f"{STAMP_FAULTS}::test_a_step_while_the_network_stalls_is_no_loss",
)
_break(
    "bound: intervals that wait",
    "What the search for drops remembers is bounded.",
    "camd/recording/rules/source_drops.py",
    "_before: deque[float] = attrs.field(factory=lambda: deque(maxlen=WINDOW), init=False)",
    "_before: deque[float] = attrs.field(factory=deque, init=False)",
    "tests/pure/test_recording_source_drops.py::test_memory_is_bounded",
)
_break(
    "bound: intervals without dropped frames",
    "What the search for drops remembers of steady times is bounded.",
    "camd/recording/rules/source_drops.py",
    "_kept: deque[float] = attrs.field(factory=lambda: deque(maxlen=WINDOW), init=False)",
    "_kept: deque[float] = attrs.field(factory=deque, init=False)",
    "tests/pure/test_recording_source_drops.py::test_memory_is_bounded",
)
_break(
    "bound: intervals that are made up for",
    "A late frame is not waited for without end.",
    "camd/recording/rules/source_drops.py",
    "len(self._before) < MIN_KNOWN or len(self._waiting) > MAX_LOOK_AHEAD",
    "len(self._before) < MIN_KNOWN",
    "tests/pure/test_recording_source_drops.py::test_memory_is_bounded",
)
_break(
    "bound: samples of a fragment",
    "A fragment that announces too many samples is refused before they are made.",
    "camd/mp4/fragments.py",
    'raise FragmentError(f"a fragment with more than {MAX_SAMPLES} samples")',
    "",
    f"{FRAGMENTS}::test_a_promise_of_too_many_samples_is_refused_without_making_them",
)
_break(
    "bound: configuration",
    "A configuration without an end is refused.",
    "camd/runtime/small_files.py:read_small_file",
    """
    if len(content) > most_bytes:
        raise OSError(0, f"is larger than {most_bytes} bytes", str(path))
    """,
    "",
    f"{BOUNDS}::test_a_configuration_without_an_end_is_refused",
)
_break(
    "bound: configuration, what is read",
    "A configuration without an end is not read whole.",
    "camd/runtime/small_files.py:read_small_file",
    "file.read(most_bytes + 1)",
    "file.read()",
    f"{BOUNDS}::test_an_enormous_configuration_is_not_read_whole",
)
_break(
    "bound: state files",
    "A file of known cameras that is enormous is set aside.",
    "camd/runtime/state_file.py:StateFile._parsed",
    """
    if len(content) > MAX_BYTES:
        raise ValueError(f"is larger than {MAX_BYTES} bytes")
    """,
    "",
    f"{BOUNDS}::test_an_enormous_list_of_cameras_is_set_aside",
)
_break(
    "state file: set aside",
    "A state file that cannot be parsed is kept before it is replaced.",
    "camd/runtime/state_file.py:StateFile.save",
    "aside = set_aside(self.path)",
    "aside = self.path",
    "tests/process/test_runtime_state_file.py::test_a_damaged_file_is_set_aside_before_it_is_replaced",
)
_break(
    "bound: space that is reserved",
    "A start is refused when what was asked for does not fit.",
    "camd/storage/space.py:SpaceMonitor.admit",
    "self._reservations[session] = need.bytes",
    "",
    "tests/process/test_storage_space.py::test_room_is_promised_once",
)
_break(
    "bound: start on a full volume",
    "Nothing starts at the block line.",
    "camd/storage/rules/admission.py:admit",
    "message is not None and status.level is not StorageLevel.LOW",
    "False",
    "tests/pure/test_storage_levels.py::test_nothing_starts_at_the_block_line",
)
_break(
    "bound: recording that does not fit",
    "What does not fit below the block line is refused.",
    "camd/storage/rules/admission.py:admit",
    "need.bytes > room",
    "False",
    "tests/pure/test_storage_levels.py::test_what_does_not_fit_is_told_how_much_would",
)
_break(
    "bound: use of a volume",
    "A volume that is full has the level that says so.",
    "camd/storage/rules/levels.py:level_of",
    "percent >= line or (held and percent > line - HYSTERESIS_PERCENT)",
    "False",
    "tests/pure/test_storage_levels.py::test_a_level_begins_at_its_line_and_ends_one_percent_below",
)
_break(
    "bound: several files of one name",
    "A name is never taken twice.",
    "camd/storage/disk.py:PosixDisk.create",
    "os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC",
    "os.O_RDWR | os.O_CREAT | os.O_CLOEXEC",
    "tests/process/test_storage_disk.py::test_creation_is_exclusive",
)
_break(
    "metrics without a key",
    "A request that a proxy passed on needs a key for the metrics.",
    "camd/api/metrics_methods.py:comes_from_this_machine",
    "any(name in request.headers for name in _FORWARDED)",
    "False",
    "tests/daemon/test_daemon_metrics.py::test_who_may_read_metrics",
)
_break(
    "metrics of an earlier run",
    "What a session had before the daemon started is not counted again.",
    "camd/metrics/totals.py:CountedAmounts.until",
    "each.end <= moment",
    "False",
    "tests/pure/test_metrics_totals.py::test_a_session_that_is_continued_counts_from_the_start_of_the_daemon",
)

# --- snapshots ------------------------------------------------------------------------------

PICTURE_FILES = "camd/snapshots/snapshot_files.py:SnapshotFiles"
PICTURES_STORED = "tests/process/test_snapshots_files.py"
PICTURES_MADE = "tests/process/test_snapshots_decoder.py"
PICTURES_TAKEN = "tests/process/test_snapshots_cameras.py"
PICTURES = "tests/pure/test_snapshots_pictures.py"
CHOICES = "tests/pure/test_snapshots_choice.py"
EXPIRY = "tests/pure/test_snapshots_rules.py"

_break(
    "snapshot: fdatasync",
    "A snapshot is on stable storage before it has its name.",
    f"{PICTURE_FILES}._write",
    "file.sync()",
    "",
    f"{PICTURES_STORED}::test_a_stored_picture_is_durable_before_it_has_a_name",
)
_break(
    "snapshot: fsync of the folder",
    "The name of a snapshot survives a power cut once it was answered.",
    f"{PICTURE_FILES}._write",
    "self._disk.sync_directory(self.folder)",
    "",
    f"{PICTURES_STORED}::test_a_stored_picture_is_durable_before_it_has_a_name",
)
_break(
    "snapshot: fsync of the folder after a deletion",
    "A deleted snapshot does not come back.",
    f"{PICTURE_FILES}._unlink",
    "self._disk.sync_directory(self.folder)",
    "",
    f"{PICTURES_STORED}::test_a_deleted_snapshot_is_gone",
)
_break(
    "snapshot: part after an error",
    "What could not be written leaves no file behind.",
    f"{PICTURE_FILES}._write",
    "self._disk.unlink(part)",
    "",
    f"{PICTURES_STORED}::test_what_the_disk_refuses_leaves_nothing_behind",
)
_break(
    "snapshot: admission",
    "No picture is stored at the block threshold.",
    f"{PICTURE_FILES}._admit",
    "message is not None and message.kind is not STORAGE_LOW",
    "False",
    f"{PICTURES_STORED}::test_a_full_volume_takes_no_pictures",
)
_break(
    "snapshot: room",
    "A picture that does not fit below the block threshold is refused.",
    f"{PICTURE_FILES}._admit",
    "size_bytes > room_below_block(status)",
    "False",
    f"{PICTURES_STORED}::test_a_full_volume_takes_no_pictures",
)
_break(
    "snapshot: lease",
    "A snapshot that is being sent is not deleted.",
    f"{PICTURE_FILES}.delete",
    "filename in self._leases",
    "False",
    f"{PICTURES_STORED}::test_a_deleted_snapshot_is_gone",
)
_break(
    "snapshot: stuck index",
    "An index that forgets nothing makes the limits delete no more.",
    f"{PICTURE_FILES}._clean_up",
    "not chosen or removed & {each.filename for each in chosen}",
    "not chosen",
    f"{PICTURES_STORED}::test_an_index_that_does_not_forget_deletes_no_more",
)
_break(
    "snapshot: limits",
    "The oldest snapshots go when there are too many, or too large ones.",
    "camd/snapshots/rules/expiry.py:expired",
    "not too_old and not limits.exceeded(count, size_bytes)",
    "not too_old",
    f"{EXPIRY}::test_the_oldest_go_until_the_rest_fits",
)
_break(
    "snapshot: checksum of a chunk",
    "A PNG stays valid with its note.",
    "camd/snapshots/rules/pictures.py:_chunk",
    "zlib.crc32(kind + content)",
    "0",
    f"{PICTURES}::test_every_chunk_of_a_png_has_its_checksum",
)
_break(
    "snapshot: age",
    "The last frame of a stalled camera is not shown as a new one.",
    "camd/snapshots/rules/frame_choice.py:FrameDemand._will_do",
    "return frame.time >= self.asked - max(LONGEST_AGE, 2 * frame.duration)",
    "return True",
    f"{CHOICES}::test_an_old_frame_is_not_new",
)
_break(
    "snapshot: dark frames",
    "The first frames of a camera that was just opened do not count.",
    "camd/snapshots/rules/frame_choice.py:FrameDemand._will_do",
    "self.settled is not None and frame.time < self.settled",
    "False",
    f"{CHOICES}::test_dark_frames_do_not_count",
)
_break(
    "bound: group of a snapshot",
    "A camera without key frames fills no memory.",
    "camd/snapshots/newest_gop.py:NewestGop._keep",
    "self._size_bytes > self.limit_bytes",
    "False",
    f"{CHOICES}::test_a_group_beyond_the_bound_is_dropped_whole",
)
_break(
    "bound: pictures that wait",
    "Further pictures are refused while eighteen are being made.",
    "camd/snapshots/decoder.py:PictureDecoder._begin",
    "self._pending >= AT_A_TIME + MOST_WAITING",
    "False",
    f"{PICTURES_MADE}::test_too_many_pictures_are_refused_at_once",
)
_break(
    "bound: bytes of a picture",
    "A decoder that writes without end is ended.",
    "camd/snapshots/decoder.py:_read_picture",
    "len(data) > MOST_PICTURE_BYTES",
    "False",
    f"{PICTURES_MADE}::test_a_flood_is_ended",
)
_break(
    "handshake: a client that goes",
    "A client that goes during the handshake is no bug of the server.",
    "camd/server/websocket.py:open_server_websocket",
    'raise SocketClosedError(ABNORMAL, "closed in the handshake")',
    "pass",
    "tests/wire/test_server_connections.py::test_a_client_that_goes_during_the_handshake_is_no_bug",
)
_break(
    "header: without parameter sets",
    "A header that FFmpeg wrote too early gets the sets of the first key frame.",
    "camd/mp4/h26x/sample_entry.py:read_header",
    "config or without_sets",
    "config",
    "tests/process/test_mp4_reheader.py::"
    "test_a_header_without_sets_gets_those_of_the_first_key_frame",
)
_break(
    "snapshot: one decode",
    "Those who ask for the same picture share one decode.",
    "camd/snapshots/decoder.py:PictureDecoder.decode",
    "flight is None or flight.refusal is not None",
    "True",
    f"{PICTURES_MADE}::test_one_decode_for_all_who_ask",
)
_break(
    "snapshot: kill",
    "A decoder that waits for input does not delay the end.",
    "camd/snapshots/decoder.py:PictureDecoder._run_process",
    "process.signal(signal.SIGKILL)",
    "",
    f"{PICTURES_MADE}::test_a_decoder_that_hangs_is_killed",
)
_break(
    "snapshot: time for a newer frame",
    "A snapshot of a stalled camera is refused in time.",
    "camd/snapshots/live_frame.py:newest_frame",
    "trio.move_on_after(NEXT_SECONDS if gop.fragments else START_SECONDS)",
    "trio.move_on_after(START_SECONDS)",
    "tests/actors/test_snapshots_live.py::test_a_process_that_does_not_end_delays_no_refusal",
)
_break(
    "snapshot: camera without a process",
    "A snapshot does not wait for a camera that is not there.",
    "camd/snapshots/live_frame.py:_FrameSearch.watch_process",
    "scope.cancel()",
    "",
    "tests/actors/test_snapshots_live.py::test_an_unplugged_camera_is_refused_soon",
)
_break(
    "snapshot: missing frames",
    "A frame that hides missing ones is not passed off as the one of an instant.",
    "camd/snapshots/past_frame.py:PastFrames._refuse_in_gap",
    "at - found.time > _LONG_SHOWN",
    "False",
    f"{PICTURES_TAKEN}::test_a_frame_before_missing_ones_is_not_shown",
)
_break(
    "snapshot: notifications after the answer",
    "Nothing about a camera that a snapshot starts comes before the snapshot's answer.",
    "camd/api/snapshot_methods.py:SnapshotsApi.take_snapshot",
    "caller.link.hold(about_camera(camera.camera_id))",
    "",
    "tests/daemon/test_daemon_snapshots.py::test_a_ping_behind_a_snapshot_answers_at_once",
)
_break(
    "snapshot: future",
    "An instant that is not over has no picture.",
    "camd/snapshots/snapshots.py:Snapshots._frame",
    "request.at > self._clock.now()",
    "False",
    f"{PICTURES_TAKEN}::test_an_instant_without_footage",
)

# --- publishing -------------------------------------------------------------------------

_break(
    "publishing: breaker",
    "A server that is not there is not asked by every publisher.",
    "camd/publish/rules/retry.py:CircuitBreaker.open",
    "return self.failures >= FAILURES",
    "return False",
    f"{PUBLISHING}::test_the_breaker_opens_after_three_failures_and_an_answer_closes_it",
)
_break(
    "growing delay",
    "What fails again and again is tried more and more rarely.",
    "camd/growing_delay.py:GrowingDelay.after",
    "self.growth ** min(failures - 1, _MOST_FAILURES)",
    "1",
    "tests/pure/test_growing_delay.py",
)
_break(
    "publishing: another source",
    "A path that somebody publishes to is not taken over.",
    "camd/publish/rules/served_paths.py:claim_path",
    "path is not None and path.source is not None",
    "False",
    f"{PUBLISHING}::test_a_path_is_claimed_only_while_nobody_has_it",
)
_break(
    "publishing: configured source",
    "A path that the server pulls from somewhere is not taken over.",
    "camd/publish/rules/served_paths.py:claim_path",
    'settings.source in ("publisher", "")',
    "True",
    f"{PUBLISHING}::test_a_path_is_claimed_only_while_nobody_has_it",
)
_break(
    "publishing: ready",
    "Viewers are told only of streams that the server has.",
    "camd/publish/rules/served_paths.py:served_stream",
    "asked and not _is_ready(path)",
    "False",
    f"{PUBLISHING}::test_a_stream_is_served_only_when_camd_and_the_server_say_so",
)
_break(
    "live: bound of bytes",
    "A viewer that takes nothing costs at most 4 MiB.",
    "camd/live/rules/viewer_backlog.py:ViewerBacklog._add",
    "self.waiting_bytes > self.limit_bytes or self._lag(captured) > self.limit_seconds",
    "self._lag(captured) > self.limit_seconds",
    f"{LIVE_BACKLOG}::test_bytes_are_bounded_before_the_time_is_over",
)
_break(
    "live: lag",
    "What waits for a viewer is never older than two seconds.",
    "camd/live/rules/viewer_backlog.py:ViewerBacklog._add",
    "self._lag(captured) > self.limit_seconds",
    "False",
    f"{LIVE_BACKLOG}::test_a_viewer_that_takes_nothing_for_two_seconds_loses_everything",
)
_break(
    "live: nothing is kept for a viewer that lags",
    "Memory is free until the viewer reads again.",
    "camd/live/rules/viewer_backlog.py:ViewerBacklog._add",
    "        if self._lost is not None:\n            self._lose(captured)\n            return\n",
    "",
    f"{LIVE_BACKLOG}::test_a_viewer_that_takes_nothing_for_two_seconds_loses_everything",
)
_break(
    "live: key frame first",
    "A viewer begins with a picture that can be decoded.",
    "camd/live/rules/viewer_backlog.py:ViewerBacklog._add",
    "        if self._awaits_key_frame:\n            return\n",
    "",
    f"{LIVE_BACKLOG}::test_it_begins_with_a_key_frame",
)
_break(
    "live: pieces",
    "A slow line makes progress that can be seen.",
    "camd/live/rules/viewer_backlog.py:ViewerBacklog.take",
    "size < JOINED_BYTES",
    "True",
    f"{LIVE_BACKLOG}::test_a_piece_has_a_bound",
)
_break(
    "live: viewers of a camera",
    "One camera has at most 64 viewers.",
    "camd/live/viewer_counts.py:ViewerCounts._why_not",
    "self._counts[camera_id] >= self.of_camera",
    "False",
    LIVE_COUNTS,
    LIVE_PAGES,
)
_break(
    "live: viewers in all",
    "All cameras together have at most 256 viewers.",
    "camd/live/viewer_counts.py:ViewerCounts._why_not",
    "len(self) >= self.in_all",
    "False",
    LIVE_COUNTS,
)
_break(
    "live: media time",
    "The wall time on a player's bar is that of the picture.",
    "camd/live/rules/live_messages.py:MediaMoment.of",
    "(run.composition[0] if run.composition else 0)",
    "0",
    LIVE_MESSAGES,
)
_break(
    "live: another capture",
    "A capture whose times begin anew has a header of its own.",
    "camd/live/live_view.py:LiveView._compare",
    "self._header, self._capture = None, hub.began_at",
    "self._capture = hub.began_at",
    f"{LIVE_VIEW}::test_a_pause_that_outlasts_the_capture_ends_with_a_new_header",
)
_break(
    "live: no sound for the muted",
    "A viewer that wants no sound gets pictures alone.",
    "camd/live/socket_viewer.py:SocketViewer.begin",
    "init = init_without_sound(init)",
    "pass",
    f"{LIVE}::test_a_viewer_may_leave_out_the_sound",
)
_break(
    "live: pictures go on while no sound comes",
    "A viewer's picture does not stand still for sound that does not come.",
    "camd/live/socket_viewer.py:SocketViewer._sound_of",
    "return Sound.SENT if self._presence.present else Sound.SILENT",
    "return Sound.SENT",
    f"{STRANGE}::test_a_viewer_gets_pictures_while_no_sound_comes",
)
_break(
    "live: sound is counted on again after some of it",
    "Single pieces of sound do not begin the stream anew each time.",
    "camd/live/rules/sound_presence.py:SoundPresence.note",
    "self.present |= self._heard_seconds >= BACK_SECONDS",
    "self.present = True",
    f"{PRESENCE}::test_it_counts_again_after_some_of_it",
)
_break(
    "live: sound in large pieces",
    "A camera that sends its sound each second is not silent in between.",
    "camd/live/rules/sound_presence.py:SoundPresence.note",
    "self._silent_seconds >= GONE_SECONDS",
    "self._silent_seconds >= 0.5",
    f"{PRESENCE}::test_sound_in_large_pieces_is_no_loss",
)
_break(
    "live: samples of pictures alone",
    "A fragment without its sound has the bytes of its pictures.",
    "camd/mp4/frames/join.py:fragment_without_sound",
    "*_samples(fragment, video)",
    "fragment.mdat",
    "tests/pure/test_mp4_join.py::test_without_sound_the_pictures_are_the_same",
)
_break(
    "live: told what was skipped",
    "Whoever missed frames hears how many.",
    "camd/live/live_view.py:LiveView._tell_lost",
    "await self.sink.skipped(lost.without(backlog.group))",
    "await trio.lowlevel.checkpoint()",
    f"{LIVE_VIEW}::test_a_viewer_that_stops_reading_is_live_again_within_a_group",
)
_break(
    "live: a removed camera",
    "Viewers of a camera that was removed leave.",
    "camd/live/live_view.py:LiveView._stays",
    "self.is_present()",
    "True",
    f"{LIVE_PAGES}::test_a_camera_that_is_removed_ends_its_viewers",
)
_break(
    "live: transcodes",
    "Viewers cannot have more cores than the configuration allows.",
    "camd/live/transcoding.py:TranscodedCameras._start",
    "len(self._running) >= self.most",
    "False",
    f"{LIVE}::test_h265_is_transcoded_once_for_all_who_need_it",
)
_break(
    "live: transcodes end",
    "A transcoder runs while somebody watches.",
    "camd/live/transcoding.py:TranscodedCameras.shared",
    "transcode.scope.cancel()",
    "None",
    f"{LIVE}::test_h265_is_transcoded_once_for_all_who_need_it",
)
_break(
    "live: previews of removed cameras",
    "Nothing of a removed camera is captured.",
    "camd/camera/cameras.py:Cameras.remove",
    "self._previews.pop(camera_id, None)",
    "None",
    f"{LIVE_PAGES}::test_a_removed_camera_ends_the_viewers_of_its_preview",
)
_break(
    "server: subprotocol",
    "No client gets what it does not understand.",
    "camd/server/http_connection.py:HttpConnection._upgrade",
    "validate_subprotocol(headers, path.subprotocol)",
    "None",
    APPLICATION_SOCKETS,
)
_break(
    "server: time for a first message",
    "A viewer without a key leaves after five seconds.",
    "camd/server/application_socket.py:ApplicationSocket._authenticate",
    "trio.move_on_after(FIRST_MESSAGE_SECONDS)",
    "trio.CancelScope()",
    APPLICATION_SOCKETS,
)
_break(
    "server: wrong keys of viewers",
    "Keys cannot be guessed on this path, either.",
    "camd/server/application_socket.py:ApplicationSocket._validate_token",
    "self.shared.authenticator.delay_refusal(self.address, reason)",
    "trio.lowlevel.checkpoint()",
    APPLICATION_SOCKETS,
)
_break(
    "server: a viewer that does not read",
    "It holds a connection for twenty seconds only.",
    "camd/server/application_socket.py:ApplicationSocket._watch_reading",
    "self.socket.stalled_seconds >= STALL_SECONDS",
    "False",
    APPLICATION_SOCKETS,
)
_break(
    "server: revoked keys of viewers",
    "Whoever watches with a key that was revoked leaves.",
    "camd/server/application_socket.py:ApplicationSocket._watch_reading",
    "self._watch_credentials()",
    "None",
    APPLICATION_SOCKETS,
)
_break(
    "publishing: bound of bytes",
    "A server that takes nothing costs at most 16 MiB a camera.",
    "camd/publish/publication_queue.py:PublicationQueue._add",
    "self.waiting_bytes > self.limit_bytes or self._seconds > self.limit_seconds",
    "self._seconds > self.limit_seconds",
    f"{PUBLISH_QUEUE}::test_memory_is_bounded_in_bytes",
)
_break(
    "publishing: lag",
    "A viewer is never more than some seconds behind for want of dropping.",
    "camd/publish/publication_queue.py:PublicationQueue._add",
    "self.waiting_bytes > self.limit_bytes or self._seconds > self.limit_seconds",
    "self.waiting_bytes > self.limit_bytes",
    f"{PUBLISH_QUEUE}::test_a_publisher_that_lags_goes_on_at_the_newest_key_frame",
)
_break(
    "publishing: head of a request",
    "The relay keeps no endless head.",
    "camd/publish/rules/rtsp_requests.py:RequestRewriter._next_request",
    "len(head) > MOST_HEAD_BYTES",
    "False",
    f"{PUBLISHING}::test_what_is_no_request_or_too_long_ends_the_relay",
)
_break(
    "publishing: body of an answer",
    "An answer without an end costs a bounded amount of memory.",
    "camd/publish/mediamtx_api.py:_converse",
    "len(received) > MOST_BODY_BYTES",
    "False",
    f"{STREAMS}::test_an_api_that_fails_is_degraded_and_noticed_as_healthy_again",
)
_break(
    "publishing: stall",
    "A server that reads no more is left.",
    "camd/publish/publication.py:Publication._write",
    "self._problem = problems.STALLED",
    "",
    f"{STREAMS}::test_a_server_that_reads_no_more_is_left_and_tried_again",
)
_break(
    "publishing: own paths only",
    "No path that others made is removed.",
    "camd/publish/stream_server.py:StreamServer.remove_path",
    "name in self._made",
    "True",
    f"{CONTRACT}::test_a_path_that_is_configured_otherwise_is_taken",
)
_break(
    "publishing: credentials",
    "No argument of FFmpeg holds a password, and the server gets it.",
    "camd/publish/relay.py:needs_relay",
    'bool(config.username) or config.rtsp.lower().startswith("rtsps:")',
    'config.rtsp.lower().startswith("rtsps:")',
    f"{STREAMS}::test_credentials_reach_the_server_and_no_argument",
)

_break(
    "publishing: paths at a server that is left",
    "A reload that names another server leaves no path of camd at the old one.",
    "camd/publish/publishing.py:_ServerFollower._publish_to",
    "await _remove_made(server, made)",
    "",
    f"{RELOADED}::test_a_camera_moves_to_another_server_while_it_is_recorded",
)
_break(
    "publishing: paths of another server",
    "A path is removed only from the server at which camd made it.",
    "camd/publish/created_paths.py:MadePaths.load",
    'found.server in ("", self._server)',
    "True",
    "tests/process/test_publish_reload.py::test_names_of_another_server_are_not_taken_over",
)
_break(
    "publishing: capture through a reload",
    "A camera that only viewers need captures on while its publisher is started again.",
    "camd/publish/publisher.py:Publisher._publish_from",
    "RELOAD_SECONDS if self.always else 0.0",
    "0.0",
    f"{RELOADED}::test_a_camera_that_captures_for_its_viewers_goes_on",
)
_break(
    "publishing: digest only",
    "A server that takes no Basic credentials is told of before anything is tried.",
    "camd/publish/rules/served_paths.py:find_obstacle",
    '"basic" not in settings.rtsp_auth_methods',
    "False",
    f"{CHECK_PARTS}::test_settings_that_keep_camd_from_publishing_are_found",
)
_break(
    "publishing: a section that comes and goes",
    "A reload takes in a section [mediamtx] that was not there.",
    "camd/config/changes.py:merge",
    "attrs.evolve(merged, **{section: getattr(new, section)})",
    "merged",
    "tests/pure/test_config_sections.py"
    "::test_the_media_server_and_the_limits_of_snapshots_are_applied_by_a_reload",
)
_break(
    "snapshot: limits of a reload",
    "Lower limits of snapshots are applied soon, not with the next snapshot.",
    "camd/snapshots/snapshot_files.py:SnapshotFiles.limit",
    "self._limited.set()",
    "",
    "tests/process/test_snapshots_files.py::test_other_limits_apply_while_the_folder_is_served",
)
_break(
    "snapshot: rounded times of an MKV",
    "An instant shows the frame that begins with it, though the file has whole milliseconds.",
    "camd/snapshots/mkv_frame.py:MkvFrames.find",
    "first.begin + since_start + _ROUNDING",
    "first.begin + since_start",
    f"{PICTURES_TAKEN}::test_the_frame_of_a_past_instant_in_an_mkv",
)
_break(
    "snapshot: bytes of an excerpt",
    "A group of pictures of an MKV costs a bounded amount of memory.",
    "camd/snapshots/mkv_frame.py:MkvFrames._read",
    "self._most_bytes",
    "1 << 40",
    "tests/process/test_snapshots_mkv.py::test_a_program_that_reads_nothing_useful_is_an_error",
)
_break(
    "check: a source that FFmpeg cannot open",
    "An FFmpeg without SRT is found before the first capture.",
    "camd/cli/checks/protocols_check.py:inspect_protocols",
    "protocol not in known",
    "False",
    f"{CHECK_PARTS}::test_an_ffmpeg_without_srt_is_a_problem_of_the_cameras_that_need_it",
)
_break(
    "check: space of the snapshots",
    "A full volume of snapshots is found although that of the recordings is empty.",
    "camd/cli/checks/snapshots_check.py:inspect_snapshots_volume",
    "usage.used_percent >= storage.block_percent",
    "False",
    f"{CHECK_PARTS}::test_the_volume_of_the_snapshots_is_looked_at",
)

# --- events

_break(
    "bound: events in memory, number",
    "So many events are kept at most.",
    "camd/events/rules/history.py:EventHistory.add",
    "len(self) > self.max_events",
    "False",
    f"{EVENT_HISTORY}::test_ten_thousand_events_are_kept_and_the_rest_is_said_to_be_missed",
)
_break(
    "bound: events in memory, bytes",
    "Events are kept up to so many bytes.",
    "camd/events/rules/history.py:EventHistory.add",
    "self._bytes > self.max_bytes and len(self) > 1",
    "False",
    f"{EVENT_HISTORY}::test_the_bound_of_bytes_leaves_the_newest",
)
_break(
    "bound: page of events",
    "One turn of the event loop looks at so many events at most.",
    "camd/events/rules/history.py:EventHistory.page",
    "min(len(self._events), start + SCAN_EVENTS)",
    "len(self._events)",
    f"{EVENT_HISTORY}::test_a_page_looks_at_a_bounded_number_of_events",
)
_break(
    "events: what is missing is counted",
    "Numbers that are not kept any more are said.",
    "camd/events/rules/history.py:EventHistory.page",
    "missed += max(0, event.before - last)",
    "pass",
    f"{EVENT_HISTORY}::test_a_hole_is_counted_where_it_is",
)
_break(
    "events: what nobody kept is counted",
    "Where no event is kept, all numbers are missed.",
    "camd/events/rules/history.py:EventHistory.page",
    "missed += max(0, self.newest - last)",
    "pass",
    f"{EVENT_HISTORY}::test_an_empty_history_of_a_later_run_says_how_many_there_were",
)
_break(
    "events: a number only once",
    "A number is above all before it.",
    "camd/events/rules/history.py:EventHistory.add",
    "event.number <= self.newest",
    "False",
    f"{EVENT_HISTORY}::test_a_number_that_does_not_grow_is_a_bug",
)
_break(
    "events: numbers are reserved",
    "A run begins behind what an earlier one may have used.",
    "camd/events/rules/numbering.py:first_event_number",
    "return limit",
    "return last_kept + 1",
    f"{EVENT_NUMBERS}::test_no_number_comes_twice_over_many_ends",
)
_break(
    "events: unreserved numbers",
    "Numbers that the disk did not reserve are of a clock.",
    "camd/events/rules/numbering.py:EventNumbers.take",
    "self.next >= self.limit",
    "False",
    f"{EVENT_NUMBERS}::test_without_a_reservation_a_clock_gives_the_number_once",
)
_break(
    "events: late reservation",
    "A reservation that a clock has overtaken does not count.",
    "camd/events/rules/numbering.py:EventNumbers.reserved",
    "limit > self.next",
    "True",
    f"{EVENT_NUMBERS}::test_a_reservation_that_comes_too_late_is_of_no_use",
)
_break(
    "checksum: event line",
    "A damaged event is left out.",
    "camd/events/rules/event_lines.py:decode_line",
    "line[:_CHECKSUM] != _checksum(text)",
    "False",
    f"{EVENT_LINES}::test_wherever_a_file_is_torn_or_damaged_the_other_lines_are_read",
)
_break(
    "checksum: event line, written",
    "The checksum of an event is that of its line.",
    "camd/events/rules/event_lines.py:_checksum",
    "zlib.crc32(text)",
    "0",
    f"{EVENT_LINES}::test_wherever_a_file_is_torn_or_damaged_the_other_lines_are_read",
)
_break(
    "events: torn line",
    "What is written behind half a line can be read.",
    "camd/events/event_files.py:EventFiles._append",
    'b"\\n" if file.tell() else HEADER',
    'b"" if file.tell() else HEADER',
    f"{EVENT_LOG}::test_damaged_lines_are_left_out_and_counted",
)
_break(
    "bound: event files",
    "The oldest file is deleted.",
    "camd/events/event_files.py:EventFiles._file_for",
    "path.unlink(missing_ok=True)",
    "None",
    f"{EVENT_LOG}::test_the_files_are_bounded",
)
_break(
    "bound: event file, bytes",
    "A file takes so many bytes.",
    "camd/events/event_files.py:EventFiles._file_for",
    "current.stat().st_size < FILE_BYTES",
    "True",
    f"{EVENT_LOG}::test_large_events_fill_a_file_by_bytes",
)
_break(
    "events: a disk that hangs at the start",
    "The start goes on without the files.",
    "camd/events/event_log.py:_LogWriter.load",
    "trio.move_on_after(self.load_seconds)",
    "trio.CancelScope()",
    f"{EVENT_LOG}::test_a_disk_that_hangs_holds_up_neither_start_nor_events_nor_stop",
)
_break(
    "events: numbers used",
    "An orderly stop says which numbers were used.",
    "camd/events/event_log.py:_LogWriter.close",
    "self.files.reserve(history.newest + 1)",
    "None",
    f"{EVENT_LOG}::test_events_have_a_number_and_a_time_and_are_there_after_a_restart",
)
_break(
    "events: replay behind the answer",
    "A replay waits for the answer to the call.",
    "camd/server/rules/event_delivery.py:EventDelivery.can_catch_up",
    "self._behind and self._waits_for is None",
    "self._behind",
    f"{DELIVERY}::test_a_replay_waits_for_the_answer",
)
_break(
    "events: sent once",
    "What was sent on a connection is not replayed on it.",
    "camd/server/rules/event_delivery.py:EventDelivery._is_missing",
    "not any((each.includes(notification) for each in self._sent))",
    "True",
    f"{DELIVERY}::test_what_was_sent_before_the_subscription_is_not_replayed",
)
_break(
    "events: told once",
    "What the answer has said to be missed is not said again.",
    "camd/server/rules/event_delivery.py:EventDelivery.next_page",
    "attrs.evolve(page, missed=page.missed - known)",
    "page",
    f"{DELIVERY}::test_what_is_given_up_during_a_replay_is_told_once",
)
_break(
    "events: live while behind",
    "Who is behind gets new events in their place.",
    "camd/server/rules/event_delivery.py:EventDelivery.accepts",
    "return False",
    "return True",
    f"{DELIVERY}::test_a_replay_waits_for_the_answer",
)
_break(
    "bound: live events of a client",
    "A client that reads slowly falls behind and stays connected.",
    "camd/server/connection.py:Connection.deliver",
    "len(self.send_queue) >= MAX_LIVE and self.delivery.fall_behind(notification)",
    "False",
    f"{SUBSCRIPTIONS}::test_a_client_that_reads_slowly_gets_the_newest_states_and_every_event",
)
_break(
    "events: replay at the pace of the reader",
    "A replay does not fill the send queue.",
    "camd/server/connection.py:Connection._catch_up",
    "await self.send_queue.wait_below(CATCH_UP_BELOW)",
    "None",
    f"{SUBSCRIPTIONS}::test_ten_thousand_events_are_replayed_while_calls_are_answered",
)
_break(
    "events: future number",
    "A number that was not given out yet is refused.",
    "camd/api/event_methods.py:EventsApi._refuse_unknown_since",
    "since is None or since <= newest",
    "True",
    f"{SUBSCRIPTIONS}::test_since_from_the_future_is_refused",
)
_break(
    "client: resume behind the last event",
    "A new connection asks for what is behind the last event.",
    "camd/client/event_stream.py:_Follower._hand",
    "self.since = event.seq",
    "pass",
    f"{CLIENT}::test_events_go_on_over_reconnections",
)
_break(
    "client: events wait for their reader",
    "A slow reader loses nothing.",
    "camd/client/service_connection.py:ServiceConnection._is_full",
    "self.keeps_all and len(self._notifications) >= MAX_WAITING_NOTIFICATIONS",
    "False",
    f"{CLIENT}::test_a_reader_that_is_slow_gets_everything",
)
_break(
    "bound: depth of JSON",
    "A message is nested so deep at most.",
    "camd/rpc/codec.py:decode_message",
    "_too_deep(text)",
    "False",
    "tests/pure/test_rpc_codec.py::test_depth_is_bounded",
)
_break(
    "bound: answers to a batch",
    "The answers to one batch take so much memory at most.",
    "camd/server/rules/answers.py:BatchAnswers.finish",
    "self._bytes + len(answer) > MAX_BATCH_BYTES",
    "False",
    f"{SERVER_BOUNDS}::test_the_answers_to_one_batch_are_bounded",
)
_break(
    "bound: characters for all clients",
    "What waits for all clients together is bounded.",
    "camd/server/send_queue.py:SendQueue.put",
    "self._items and spent and waiting > FAIR_CHARACTERS",
    "False",
    f"{SERVER_BOUNDS}::test_all_send_queues_together_are_bounded",
)
_break(
    "bound: connections of an address without a key",
    "One address has a part of the connections without a key.",
    "camd/server/rules/connection_limits.py:ConnectionLimits.add",
    "too_many and not is_own_address(connection.address)",
    "False",
    f"{CONNECTION_LIMITS}::test_one_address_has_a_part_of_the_connections",
)
_break(
    "bound: connections of an address",
    "One address has so many connections at most.",
    "camd/server/rules/connection_limits.py:ConnectionLimits._has_room",
    "self._by_address[address] < self.max_authenticated_per_address",
    "True",
    f"{UNAUTHENTICATED}::test_authenticated_connections_of_one_address_are_limited",
)
_break(
    "bound: HTTP requests of an address",
    "One address has so many requests answered at most.",
    "camd/server/http_connection.py:HttpConnection._respond",
    "self.config.take_request()",
    "0",
    f"{UNAUTHENTICATED}::test_requests_of_one_address_are_limited",
)
_break(
    "bound: addresses whose requests are counted",
    "So many addresses are remembered at most.",
    "camd/server/rules/connection_limits.py:AddressRates.take",
    "len(self._buckets) > MAX_ADDRESSES",
    "False",
    f"{CONNECTION_LIMITS}::test_addresses_whose_requests_are_counted_are_bounded",
)
_break(
    "check: host name of a request",
    "A request that names another host is refused, with and without keys.",
    "camd/server/http_connection.py:HttpConnection._validate_request",
    "validate_host(headers, self.config.names, request.target)",
    "None",
    f"{UNAUTHENTICATED}::test_programs_need_one_of_our_names_too",
)
_break(
    "check: credentials in a URL",
    "A request with credentials in its URL is refused.",
    "camd/server/http_connection.py:HttpConnection._validate_request",
    "validate_target(request.target)",
    "None",
    f"{UNAUTHENTICATED}::test_credentials_in_a_url_are_refused_and_not_logged",
)
_break(
    "check: user of a Unix socket",
    "A user of this machine without a role needs a key.",
    "camd/auth/peer_roles.py:PeerRoles.identify",
    "role is None",
    "False",
    "tests/pure/test_auth_peer_roles.py::test_a_role_comes_from_the_user_then_from_its_groups",
)
_break(
    "check: own entry of a user",
    "The entry of a user is stronger than those of its groups.",
    "camd/auth/peer_roles.py:PeerRoles._role_of",
    "peer.uid in self.users",
    "False",
    "tests/pure/test_auth_peer_roles.py::test_a_role_comes_from_the_user_then_from_its_groups",
)
_break(
    "check: permissions of a Unix socket",
    "Without authentication, only the daemon's own group may connect.",
    "camd/server/accepting.py:_unix_mode",
    "authenticator.enabled and authenticator.peers.admits_others",
    "authenticator.peers.admits_others",
    "tests/process/test_server_peers.py::test_without_roles_or_keys_the_socket_is_private",
)
SIGN_IN = "tests/pure/test_auth_sign_in.py"
PAGE_SOCKETS = "tests/wire/test_server_sessions.py"

_break(
    "sign-in: idle sessions end",
    "A browser session that nobody uses ends.",
    "camd/auth/sign_in.py:BrowserSessions.use",
    "now - found.used >= IDLE_SECONDS",
    "False",
    f"{SIGN_IN}::test_a_session_ends_when_it_is_not_used",
)
_break(
    "sign-in: a session is not worth more than its token",
    "A browser session ends with the credentials that began it.",
    "camd/auth/sign_in.py:BrowserSessions.begin",
    "min(ends, identity.expires_at)",
    "ends",
    f"{SIGN_IN}::test_a_session_ends_with_the_credentials_that_began_it",
)
_break(
    "sign-in: a code works once",
    "A link that was used opens nothing.",
    "camd/auth/sign_in.py:SignInCodes.take",
    "self._codes.pop(digest(code), (None, now))",
    "self._codes.get(digest(code), (None, now))",
    f"{SIGN_IN}::test_a_code_works_once_within_a_minute",
)
_break(
    "sign-in: an old code",
    "A link works for a minute.",
    "camd/auth/sign_in.py:SignInCodes.take",
    "now < until",
    "True",
    f"{SIGN_IN}::test_a_code_works_once_within_a_minute",
)
_break(
    "sign-in: the port of an origin",
    "A page at another port of this host is another page.",
    "camd/auth/sign_in.py:comes_from_own_web_page",
    "authority == host.lower()",
    "authority.partition(':')[0] == host.lower().partition(':')[0]",
    f"{SIGN_IN}::test_only_the_own_origin_counts",
)
_break(
    "sign-in: a cookie without our origin",
    "A cookie counts for a WebSocket only from our own page.",
    "camd/auth/sign_in.py:session_identity",
    "comes_from_own_web_page(headers) if upgrade else may_read(headers)",
    "True",
    f"{PAGE_SOCKETS}::test_a_cookie_without_our_own_origin_is_not_looked_at",
)
_break(
    "sign-in: sockets of an ended session",
    "Signing out ends the connections of the page.",
    "camd/server/connection_auth.py:ConnectionAuth._failure",
    "not self.authenticator.sessions.holds(identity.browser_session)",
    "False",
    f"{PAGE_SOCKETS}::test_signing_out_ends_the_sockets_of_the_session",
)
_break(
    "sign-in: a revoked key",
    "A browser session ends with its key.",
    "camd/auth/authenticator.py:Authenticator.identify_cookie",
    "found is None or self.revoked(found)",
    "found is None",
    f"{PAGE_SOCKETS}::test_revoking_the_key_ends_the_session",
)
_break(
    "sign-in: failures of an address",
    "Keys are not guessed at the speed of the network.",
    "camd/auth/sign_in.py:SignInFailures.count",
    "self._failed[address] = (*recent, now)[-MAX_SIGN_IN_FAILURES:]",
    "self._failed[address] = recent",
    f"{SIGN_IN}::test_five_failures_a_minute_are_answered",
)
_break(
    "sign-in: a link while others guess",
    "Whoever has a link signs in, whatever keys were tried at the same address.",
    "camd/api/http/sign_in_routes.py:SignInRoutes.sign_in",
    "wait and given.code is None",
    "wait",
    "tests/daemon/test_daemon_sessions.py"
    "::test_wrong_keys_of_others_do_not_keep_out_who_has_a_link",
)

# --- schedules --------------------------------------------------------------------------------

_break(
    "schedule: time that comes twice",
    "A window ends at the second of two instants.",
    "camd/schedules/rules/local_time.py:instant_of",
    "max(shown) if last else min(shown)",
    "min(shown)",
    f"{WINDOWS}::test_times_that_come_twice",
)
_break(
    "schedule: windows that touch",
    "Windows that touch are one.",
    "camd/schedules/rules/windows.py:_due",
    "each.begin <= end < each.end",
    "each.begin < end < each.end",
    f"{WINDOWS}::test_windows_that_touch_are_one_and_the_latest_end_counts",
)
_break(
    "schedule: window without length",
    "A window that the clocks skip does not open.",
    "camd/schedules/rules/windows.py:open_times",
    "found.begin < found.end",
    "True",
    f"{WINDOWS}::test_a_window_is_never_without_length",
)
_break(
    "schedule: somebody's session",
    "The end of a window stops only what the schedule started.",
    "camd/schedules/rules/decision.py:decide_action",
    "not is_scheduled(session)",
    "False",
    f"{SCHEDULES}::test_somebodys_session_is_not_touched",
)
_break(
    "schedule: stop by hand",
    "A stop by hand counts until the end of the window.",
    "camd/schedules/rules/decision.py:decide_action",
    "now.active and override is None",
    "now.active",
    f"{SCHEDULES}::test_a_stop_by_hand_counts_until_the_end_of_the_window",
)
_break(
    "schedule: end of a stop by hand",
    "A stop by hand counts no longer than the window.",
    "camd/schedules/stop_memory.py:StopMemory.get",
    "override.holds(instant)",
    "True",
    f"{SCHEDULES}::test_a_stop_counts_until_its_instant",
)
_break(
    "schedule: start by hand",
    "A start by hand lifts a stop by hand.",
    f"{CAMERA_SCHEDULE}._note_session",
    "self._set_override(None)",
    "",
    f"{SCHEDULES}::test_a_start_by_hand_lifts_a_stop",
)
_break(
    "schedule: own stop",
    "The stop at the end of a window is not taken for one by hand.",
    "camd/schedules/rules/decision.py:override_by",
    "by is None or now.window_end is None",
    "by is None",
    f"{SCHEDULE_RULES}::test_which_ends_count_until_the_windows_end",
)
_break(
    "schedule: stop in one of two windows",
    "A stop by hand counts no longer than its own window.",
    f"{CAMERA_SCHEDULE}._update_due",
    "self._due.window_end or self._due.next_change or now + RECHECK_AFTER",
    "self._due.next_change or now + RECHECK_AFTER",
    f"{SCHEDULES}::test_a_stop_counts_no_longer_than_its_own_window",
)
_break(
    "schedule: growing pause",
    "A start that is refused is tried again after a growing pause.",
    f"{CAMERA_SCHEDULE}._note_refusal",
    "self._wait_longer()\nbefore, self._refusal = self._refusal, refusal",
    "before, self._refusal = self._refusal, refusal",
    f"{SCHEDULES}::test_a_camera_that_cannot_start_is_tried_again_and_says_why_once",
)
_break(
    "schedule: correction of the clock",
    "A clock that goes back by seconds does not leave a window.",
    "camd/schedules/schedule_time.py:ScheduleTime.now",
    "not latest - CORRECTION < now < latest",
    "True",
    f"{SCHEDULES}::test_a_small_correction_does_not_leave_a_window",
)
_break(
    "schedule: clock that is set",
    "Nothing waits for a window longer than a second.",
    "camd/schedules/schedules.py:Schedules._pause",
    "min((TICK_SECONDS, *waits))",
    "min(waits)",
    f"{SCHEDULES}::test_a_clock_that_is_set_forward_into_a_window_opens_it",
)
_break(
    "schedule: sessions of an earlier run",
    "Nothing is started before old sessions are resumed.",
    "camd/schedules/schedules.py:_run",
    "await resumed.wait()",
    "await trio.lowlevel.checkpoint()",
    f"{SCHEDULES}::test_nothing_is_started_before_old_sessions_are_resumed",
)
_break(
    "schedule: session without a schedule",
    "A session whose schedule is gone is ended.",
    "camd/schedules/schedules.py:Schedules._match_cameras",
    "schedules or _left_running(camera)",
    "schedules",
    f"{SCHEDULES}::test_a_session_that_a_schedule_left_is_ended_after_its_window",
)

_break(
    "camera limit: found cameras",
    "Cameras that are found leave room for those of the configuration.",
    "camd/camera/bindings.py:DeviceBinder._add",
    "0 if entry else len(missing)",
    "0",
    "tests/actors/test_camera_limit.py::test_a_camera_above_the_limit_is_neither_adopted_nor_added",
)
_break(
    "camera limit: order",
    "Cameras that are plugged in come before those that are not.",
    "camd/camera/bindings.py:DeviceBinder._update_cameras",
    "binding.device is None",
    "False",
    "tests/actors/test_camera_limit.py::test_after_a_restart_those_that_are_plugged_in_come_first",
)
_break(
    "check: two lengths of a body",
    "A request inside of another one is not answered.",
    "camd/server/http_connection.py:HttpConnection._validate_request",
    "validate_framing(request.http_version, headers)",
    "None",
    f"{HTTP}::test_a_request_inside_of_another_one_is_not_answered",
)
_break(
    "check: host of an absolute target",
    "A foreign host name is refused, wherever a request has it.",
    "camd/server/http_connection.py:HttpConnection._validate_request",
    "validate_host(headers, self.config.names, request.target)",
    "validate_host(headers, self.config.names)",
    f"{UNAUTHENTICATED}::test_an_absolute_target_needs_one_of_our_names_too",
)
_break(
    "check: form of the Host header",
    "A host name is read as the client's peers read it, or not at all.",
    "camd/server/rules/request_validation.py:is_own",
    "_HOST_HEADER.fullmatch(host)",
    "True",
    f"{CONNECTION_LIMITS}::test_own_names_are_loopback_addresses_and_configured_names",
)
_break(
    "close: broken protocol",
    "Who breaks the protocol is told how.",
    "camd/server/websocket.py:WebSocket.close",
    "self._stream.exceeded or (self._broken and not self._sending)",
    "self._stream.exceeded",
    f"{CONNECTIONS}::test_who_breaks_the_protocol_is_told_how",
)
_break(
    "check: pages of loopback",
    "A page of another machine is not one of this one.",
    "camd/server/rules/request_validation.py:_is_same_host",
    "_is_loopback(web_page_host) and _is_loopback(host)",
    "_is_loopback(web_page_host)",
    f"{CONNECTIONS}::test_pages_of_this_machine_may_name_it_in_each_way",
)

# --- the service on its machine ----------------------------------------------------------------

_break(
    "watchdog: a part that does not answer",
    "A daemon of which a part does not answer is restarted.",
    "camd/systemd_notifier.py:feed_watchdog",
    "await silent_parts(pings(), period / _ROUNDS)",
    "[]",
    "tests/actors/test_systemd_notifier.py::test_a_part_that_does_not_answer_lets_the_watchdog_starve",
)
_break(
    "watchdog: often enough",
    "One late answer misses no deadline of the watchdog.",
    "camd/systemd_notifier.py",
    "_ROUNDS = 4",
    "_ROUNDS = 1",
    "tests/actors/test_systemd_notifier.py::test_a_part_that_is_late_once_misses_no_deadline",
)
_break(
    "FFmpeg: no list of fragments",
    "The memory of a capture's FFmpeg does not grow with each frame.",
    "camd/ffmpeg/text/args.py",
    '"frag_keyframe+empty_moov+default_base_moof+frag_discont+skip_trailer"',
    '"frag_keyframe+empty_moov+default_base_moof+frag_discont"',
    "tests/process/test_ffmpeg_commands.py::test_a_stream_ends_with_its_last_frame",
)
_break(
    "reload: ready in any case",
    "A reload ends for systemd, also when the configuration was refused.",
    "camd/systemd_notifier.py:SystemdNotifier.reloading",
    'self._notify("READY=1")',
    "None",
    "tests/daemon/test_service_reload.py"
    "::test_a_signal_with_a_wrong_configuration_is_answered_with_ready",
)
_break(
    "format: a newer one is refused",
    "An older camd changes nothing in a folder of a newer one.",
    "camd/runtime/folders/format_marker.py:claim_format",
    "present[0] > known",
    "False",
    "tests/process/test_runtime_format_marker.py::test_an_older_camd_changes_nothing",
)
_break(
    "format: an unreadable one is refused",
    "A folder whose marker tells no format is not taken for one of this format.",
    "camd/runtime/folders/format_marker.py:_parsed",
    'raise ValueError("it has no version")',
    "return None",
    "tests/process/test_runtime_format_marker.py::test_a_marker_that_tells_no_format_is_refused_and_left",
)
_break(
    "format: a truth is no number",
    "JSON's true is not format 1.",
    "camd/runtime/folders/format_marker.py:_parsed",
    "type(present) is not int",
    "not isinstance(present, int)",
    "tests/process/test_runtime_format_marker.py::test_a_marker_that_tells_no_format_is_refused_and_left",
)
_break(
    "format: backup before a change",
    "The files of an older format are kept before they are changed.",
    "camd/runtime/folders/format_marker.py:claim_format",
    "back_up(folder, present[0])",
    "None",
    "tests/process/test_runtime_format_marker.py::test_a_newer_camd_keeps_what_the_older_one_had",
)
_break(
    "format: a whole backup or none",
    "A backup that a crash cut short is not taken for a whole one.",
    "camd/runtime/folders/format_marker.py:back_up",
    'folder / f"backup-format-{present}", folder / "backup-part"',
    'folder / f"backup-format-{present}", folder / f"backup-format-{present}"',
    "tests/process/test_runtime_format_marker.py::test_a_backup_for_which_there_is_no_space_is_none",
)
_break(
    "journal of the machine: values with lines",
    "No line in a value becomes a field of another event.",
    "camd/systemd.py:_field",
    'b"\\n" not in data',
    "True",
    "tests/pure/test_logs.py::test_journald_reads_back_what_was_written",
)
_break(
    "journal of the machine: own fields",
    "An event cannot replace priority and message.",
    "camd/systemd.py:journal_entry",
    "own | further | own",
    "own | further",
    "tests/pure/test_logs.py::test_journald_reads_back_what_was_written",
)
_break(
    "first configuration: names of devices",
    "A device's name cannot write configuration.",
    "camd/cli/setup/first_config.py:_quoted",
    "json.dumps(_plain(text), ensure_ascii=False)",
    """f'"{text}"'""",
    "tests/pure/test_cli_first_config.py::test_every_name_makes_a_valid_configuration",
)
_break(
    "first configuration: cameras without a serial number",
    "A link that another camera of the same model may get is not written.",
    "camd/cli/setup/first_config.py:_serial_is_unique",
    "device.usb is None or not device.usb.serial",
    "device.usb is None",
    "tests/pure/test_cli_first_config.py::test_a_camera_is_named_by_what_stays",
)
_break(
    "first configuration: cameras with the same serial number",
    "A link by a serial number that another camera has, too, is not written.",
    "camd/cli/setup/first_config.py:_serial_is_unique",
    "ports <= {device.usb.port}",
    "True",
    "tests/pure/test_cli_first_config.py::test_a_link_that_several_devices_have_names_none",
)
_break(
    "first configuration: a link of several devices",
    "A link that another device has, too, is not written.",
    "camd/cli/setup/first_config.py:_lasting_path",
    "link not in taken",
    "True",
    "tests/pure/test_cli_first_config.py::test_a_link_that_several_devices_have_names_none",
)

_break(
    "ledger: a drift that is made up for at once",
    "The clock of a source drifts: a seam between two files is no fault that verify finds.",
    "camd/recording/rules/ledger.py:SessionLedger.start_of",
    "off = max(-most, min(most, off))",
    "off = off + timedelta(0)",
    "tests/pure/test_capture_stamp_faults.py"
    "::test_a_clock_that_drifts_for_hours_leaves_no_fault_between_files",
)
for _function in ("add", "remove"):
    _break(
        f"reload: {_function} a camera that records",
        "A reload ends no recording.",
        f"camd/camera/bindings.py:DeviceBinder.{_function}",
        "former is not None and former.status.session is not None",
        "False",
        "tests/actors/test_camera_bindings.py::test_a_reload_removes_no_camera_that_records",
    )

DIRECT = "tests/process/test_server_direct_sends.py"

_break(
    "direct send: rest of a frame",
    "What the kernel has not taken of a frame is sent before anything else.",
    "camd/server/websocket.py:_MeteredStream.send_all",
    "unsent + data if unsent else data",
    "data",
    f"{DIRECT}::test_the_next_message_brings_the_rest_of_a_frame",
)
_break(
    "direct send: between two halves",
    "No frame is sent into another one.",
    "camd/server/websocket.py:_MeteredStream.write_now",
    "self.sends or self.unsent or self.close_sent",
    "self.close_sent",
    f"{DIRECT}::test_nothing_is_sent_into_a_frame_that_is_not_finished",
)
_break(
    "direct send: rest without another message",
    "The rest of a frame does not wait for the next message.",
    "camd/server/connection.py:Connection._send_now",
    "self.send_queue.wake()",
    "",
    f"{SOCKETS}::test_the_end_of_a_large_notification_needs_no_further_one",
)

# --- the contract with clients ---------------------------------------------------------------

_break(
    "contract: names of fields",
    "The OpenRPC document has the names that are sent, not those of Python.",
    "camd/rpc/openrpc.py:schemas_of",
    "_use_wire_names(components[found.__name__], found)",
    "",
    "tests/pure/test_rpc_openrpc.py::test_results_are_described_with_the_names_that_are_sent",
)
_break(
    "contract: results of methods",
    "The document describes the result of each method.",
    "camd/rpc/registry.py:methods_of",
    "declaration.result",
    "Any",
    "tests/pure/test_rpc_openrpc.py::test_results_are_described_with_the_names_that_are_sent",
)
_break(
    "contract: names of fields in the client",
    "The client reads fields by the names that are sent.",
    "camd/client/results.py:_other_names",
    "{wire_name(each): each.name for each in fields if wire_name(each) != each.name}",
    "{}",
    "tests/pure/test_client_values.py::test_a_result_is_read_strictly_and_new_fields_are_ignored",
)

# --- exports --------------------------------------------------------------------------------

_break(
    "export: key frame",
    "A cut begins with the key frame that its first frame needs.",
    "camd/mp4/movies/decode_begin.py:first_needed",
    "key_frame_before(samples, wanted[0] + 1)",
    "wanted[0]",
    f"{CUTS}::test_the_frames_shown_are_those_asked_for",
)
_break(
    "export: hidden frames behind",
    "A cut goes on to the end of a file that another one continues.",
    "camd/mp4/movies/cut_frames.py:choose_frames",
    "len(times) if end >= EVER else wanted[-1] + 1",
    "wanted[-1] + 1",
    f"{CUTS}::test_cuts_around_a_rotation_of_open_groups",
)
_break(
    "export: lead-in of another file",
    "Leading pictures at the beginning of a file are decoded with the file before.",
    "camd/export/source_files.py:_choose",
    "frames is None and planned.leads_in",
    "False",
    f"{CUTS}::test_cuts_around_a_rotation_of_open_groups",
)
_break(
    "export: leading pictures",
    "Pictures that cannot be decoded are not in a cut.",
    "camd/mp4/movies/cut_frames.py:choose_frames",
    "_cut(samples, times, kept, (first, until), leading)",
    "_cut(samples, times, kept, (first, until), frozenset())",
    f"{CUTS}::test_what_is_missing_is_closed_up",
)
_break(
    "export: another stream",
    "A new movie begins where codec, size or parameter sets change.",
    "camd/mp4/movies/cut_movie.py:begins_movie",
    "before.file.shape != piece.file.shape",
    "False",
    f"{CUTS}::test_a_new_movie_begins_where_the_stream_changes",
)
_break(
    "export: hidden in the middle",
    "A new movie begins where frames would have to be hidden in the middle.",
    "camd/mp4/movies/cut_movie.py:begins_movie",
    "bool(hides)",
    "False",
    f"{CUTS}::test_a_clock_that_was_set_back_begins_a_new_movie",
)
_break(
    "export: sound of the same instant",
    "Sound is placed by its own time beside the picture.",
    "camd/mp4/movies/cut_movie.py:CutBuilder._sound_edit",
    "round((begin - self._sound_zero) * scale)",
    "0",
    f"{CUTS}::test_picture_and_sound_are_cut_at_the_same_instant",
)
_break(
    "export: samples within the file",
    "A sample that a header puts outside of the media data is an error.",
    "camd/mp4/movies/recorded_tracks.py:_validated",
    "max(map(add, offsets, sizes)) > end",
    "False",
    f"{CUTS}::test_a_damaged_header_is_an_error_or_a_cut",
)
_break(
    "export: frames at a seam",
    "Files of which the ledger misses something between are cut by their own times.",
    "camd/export/rules/export_plan.py:_is_joined",
    "gap.lost_footage",
    "False",
    f"{EXPORT_PLAN}::test_a_ledger_entry_at_a_seam_says_that_frames_are_missing",
)
_break(
    "export: another version",
    "A part of another version of an export is never sent.",
    "camd/export/rules/byte_ranges.py:requested_span",
    'headers.get("if-range", etag) != etag',
    "False",
    f"{EXPORT_PLAN}::test_a_range_of_another_version_is_everything",
)
_break(
    "export: lease",
    "The files of an export are not removed while it is sent.",
    "camd/export/exports.py:Exports._try",
    "leases.enter_context(self._storage.leased(segment.filename))",
    "",
    f"{EXPORTS}::test_files_are_leased_until_all_is_sent",
)
_break(
    "export: another file of the name",
    "Bytes of a file that took another one's name are never sent.",
    "camd/export/source_files.py:read_block",
    "source.identity != identity",
    "False",
    f"{EXPORTS}::test_a_file_that_goes_between_two_pieces_ends_the_transfer",
)
_break(
    "export: shorter file",
    "What a file that was cut lacks ends the transfer.",
    "camd/export/source_files.py:OpenSource.read",
    "len(data) != size",
    "False",
    f"{EXPORTS}::test_a_file_that_goes_between_two_pieces_ends_the_transfer",
)
_break(
    "bound: exports at the same time",
    "So many exports are sent or prepared at most.",
    "camd/export/exports.py:Exports.opened",
    "self._opened >= MOST_TRANSFERS",
    "False",
    f"{EXPORTS}::test_so_many_exports_are_sent_at_the_same_time",
)
_break(
    "bound: time to read a file of an export",
    "A disk that hangs refuses an export in time.",
    "camd/export/exports.py:Exports._bounded",
    "trio.move_on_after(self._limits.read_seconds)",
    "trio.CancelScope()",
    f"{EXPORTS}::test_a_disk_that_hangs_blocks_nobody_else",
)
_break(
    "bound: length of an export",
    "An export has 24 hours at most.",
    "camd/export/rules/export_refusals.py:validate_range",
    "wanted.end - wanted.begin > LONGEST",
    "False",
    f"{EXPORTING}::test_what_cannot_be_exported_is_a_typed_error",
)
_break(
    "download: another version",
    "Bytes of another version of an export are never appended.",
    "camd/client/downloads.py:_refused_status",
    'sent.decode("latin-1") != etag or answer.status_code != wanted',
    "False",
    f"{EXPORTING}::test_a_download_that_was_cut_off_goes_on",
)
_break(
    "download: sync",
    "A download is on stable storage before it has its name.",
    "camd/client/downloads.py:_PartialFile.sync",
    "os.fsync(self._fd)",
    "",
    f"{EXPORT_RECEIPTS}::test_a_download_is_durable_before_it_has_its_name",
)
_break(
    "download: receipt",
    "A file that is not what was received has no receipt.",
    "camd/cli/exporting/export_receipt.py:write_receipt",
    "_hash_of(done.path) != done.sha256",
    "False",
    f"{EXPORT_RECEIPTS}::test_a_file_that_is_not_what_was_received_has_no_receipt",
)

# --- playback -------------------------------------------------------------------------------

FRAGMENT_INDEX = "camd/mp4/movies/fragment_index.py"
PIECES = "tests/pure/test_mp4_fragment_index.py"
TIMELINES = "tests/pure/test_storage_timeline.py"
PLAYED = "tests/process/test_playback_files.py"

_break(
    "export: files of an export that was kept",
    "An export is prepared anew when one of its files is another one.",
    "camd/export/exports.py:Exports._find_kept",
    "found == kept.files",
    "True",
    "tests/process/test_export_exports.py"
    "::test_an_export_is_prepared_anew_when_a_file_is_another_or_gone",
)
_break(
    "export: leases of an export that was kept",
    "Files of an export that was prepared before are leased again.",
    "camd/export/exports.py:Exports._find_kept",
    "self._storage.leased(segment.filename)",
    '__import__("contextlib").nullcontext()',
    "tests/process/test_export_exports.py"
    "::test_a_download_that_is_resumed_takes_the_export_of_before",
)
_break(
    "export: an export that grows",
    "An export of a file that grows is prepared anew.",
    "camd/export/exports.py:Exports._try",
    "export_key.is_final and not export.late and wanted.end <= self._clock.now()",
    "True",
    "tests/process/test_export_exports.py::test_an_export_that_grows_is_not_kept",
)
_break(
    "export: heads that are kept",
    "Heads of exports take a bounded amount of memory.",
    "camd/export/kept_exports.py:KeptExports.keep",
    "self.head_bytes > self.most_bytes",
    "False",
    "tests/process/test_export_exports.py::test_heads_of_a_bounded_size_are_kept",
)
_break(
    "export: heads that nobody takes",
    "A prepared export that nobody comes back for is forgotten.",
    "camd/export/kept_exports.py:KeptExports.forget_old",
    "self._forget(old)",
    "",
    "tests/process/test_export_exports.py::test_a_prepared_export_that_nobody_takes_is_forgotten",
)
_break(
    "export: last pictures of files",
    "The last picture of a file, whose duration was not known, is shown as long as the others.",
    "camd/mp4/movies/cut_frames.py:shown_ticks",
    "lasts < UNKNOWN_SHARE * min(before)",
    "False",
    "tests/pure/test_mp4_cut_frames.py::test_files_that_end_with_an_unknown_duration_lose_no_time",
)
_break(
    "playback: order of chunks",
    "Chunks that have changed places are no fragments.",
    f"{FRAGMENT_INDEX}:sealed_fragments",
    "places[at].number != taken",
    "False",
    f"{PIECES}::test_chunks_out_of_order_are_refused",
)
_break(
    "playback: bytes behind the fragments",
    "Tables that leave media data out are refused.",
    f"{FRAGMENT_INDEX}:sealed_fragments",
    "begin != end",
    "False",
    f"{PIECES}::test_tables_that_leave_media_data_out_are_refused",
)
_break(
    "playback: samples of a table",
    "A table that names more samples than a file can hold takes no memory.",
    f"{FRAGMENT_INDEX}:_sizes_of",
    "samples > MOST_SAMPLES",
    "False",
    f"{PIECES}::test_samples_of_one_size_are_bounded",
)
_break(
    "playback: whole fragments of a growing file",
    "A fragment counts when it is durable to its last byte.",
    f"{FRAGMENT_INDEX}:_runs_at",
    "over + CHECKSUM_BOX_SIZE > end",
    "False",
    f"{PIECES}::test_a_growing_file_is_read_up_to_what_is_durable",
)
_break(
    "playback: frames that are shown later than decoded",
    "A piece has the time at which its first frame is shown.",
    f"{FRAGMENT_INDEX}:_VideoSamples.fragment",
    "self.composition[number:until]",
    "self.composition[:0]",
    f"{PIECES}::test_the_moov_describes_what_a_walk_finds",
)
_break(
    "playback: delays of tracks",
    "Sound that begins later than the picture stays where it is.",
    "camd/mp4/movies/playback_init.py:playback_init",
    "latest - track.delay",
    "-track.delay",
    f"{PIECES}::test_the_delay_of_a_track_is_skipped_by_the_others",
)
_break(
    "playback: pictures without an edit list",
    "The first picture of a file is at zero, also where pictures are shown in another order.",
    "camd/mp4/movies/applied_edits.py:AppliedEdits._times",
    "offset - self.composition",
    "offset",
    "tests/pure/test_mp4_applied_edits.py::test_fragments_have_the_times_of_the_presentation",
)
_break(
    "playback: sound before zero",
    "No track begins before the presentation: Firefox would leave out pictures.",
    "camd/mp4/movies/applied_edits.py:AppliedEdits.of",
    "max(Fraction(0), -min(delays.values()))",
    "Fraction(0)",
    "tests/pure/test_mp4_applied_edits.py::test_sound_that_is_not_heard_moves_everything",
)
_break(
    "playback: a decode time below zero",
    "No decode time is negative, which players read as a very large one.",
    "camd/mp4/movies/applied_edits.py:AppliedEdits._times",
    "max(0, run.decode_time + self.later[run.track_id])",
    "run.decode_time + self.later[run.track_id]",
    "tests/pure/test_mp4_applied_edits.py::test_ticks_that_cannot_be_moved_stay_at_zero",
)
_break(
    "playback: applied edits from a fragment on",
    "Bytes that begin inside a fragment are not read as one.",
    "camd/api/http/playback_routes.py:PlaybackRoutes._begins_fragment",
    'return (await reader.next())[4:] == b"moof"',
    "return True",
    "tests/daemon/test_daemon_playback.py"
    "::test_sound_before_the_first_picture_comes_without_an_edit_list",
)
_break(
    "playback: another file of the same name",
    "Bytes of another file are never sent.",
    "camd/playback/stored_bytes.py:BytesReader._read",
    "self._identity not in (None, identity)",
    "False",
    f"{PLAYED}::test_bytes_end_short_when_their_file_changes",
)
_break(
    "files: a new file with the number of a removed one",
    "A file is told from one that was removed before, although it has its inode number.",
    "camd/storage/file_identity.py:_generation",
    "return int(generation)",
    "return 0",
    "tests/process/test_storage_file_identity.py::test_a_new_file_is_another_one",
)
_break(
    "playback: lease while sending",
    "A file is not removed while its bytes are sent.",
    "camd/playback/stored_bytes.py:StoredBytes.opened",
    "self.lease()",
    '__import__("contextlib").nullcontext()',
    f"{PLAYED}::test_bytes_end_short_when_their_file_changes",
)
_break(
    "playback: files whose pieces are kept",
    "Pieces of a bounded number of files are kept.",
    "camd/playback/stored_pieces.py:StoredPieces._keep",
    "len(self._kept) > KEPT_FILES",
    "False",
    f"{PLAYED}::test_pieces_of_a_bounded_number_of_files_are_kept",
)
_break(
    "playback: strips that wait",
    "A bounded number of strips wait for their turn.",
    "camd/playback/strip.py:StripMaker.strip",
    "self._turn.statistics().tasks_waiting >= MOST_WAITING",
    "False",
    f"{PLAYED}::test_an_ffmpeg_that_hangs_or_is_missing_is_ended",
)
_break(
    "playback: a tile for each key frame",
    "A strip with a frame that cannot be decoded is refused, not shifted.",
    "camd/playback/strip.py:StripMaker._decode",
    "len(data) != wanted",
    "False",
    f"{PLAYED}::test_a_strip_of_damaged_frames_is_refused",
)
RANGE_END = "tests/pure/test_playback_range_end.py"
PLAYLIST = "tests/pure/test_playback_playlist.py"

_break(
    "playback: the end of a playlist between two files",
    "A playlist has no end while a session can still add to its range.",
    "camd/playback/rules/range_end.py:final_until",
    "newest[-1].end",
    "now",
    f"{RANGE_END}::test_a_range_is_final_up_to_what_can_be_played",
)
_break(
    "playback: the end of a playlist before what is durable",
    "What is written and not durable is still to come into a range.",
    "camd/playback/rules/range_end.py:final_until",
    "playable_ends.get(growing.filename, growing.start)",
    "growing.end",
    f"{RANGE_END}::test_a_range_is_final_up_to_what_can_be_played",
)
_break(
    "playback: the end of a playlist while the disk hangs",
    "Frames that wait for the disk are still to come into a range.",
    "camd/playback/rules/range_end.py:final_until",
    "session.state is SessionState.WAITING and session.durable and disk_takes_all",
    "session.state is SessionState.WAITING and session.durable",
    f"{RANGE_END}::test_frames_that_wait_for_the_disk_are_still_to_come",
)
_break(
    "playback: pieces of a playlist that grows",
    "A piece that may become longer is not in a playlist yet.",
    "camd/playback/rules/playable_files.py:joined_pieces",
    "held is not None and not grows",
    "held is not None",
    f"{PLAYLIST}::test_what_a_growing_playlist_has_named_stays",
)
_break(
    "playback: the end of a piece that grows",
    "A piece that grows ends before a frame that is shown earlier than others, and missing yet.",
    "camd/mp4/movies/fragment_index.py:PieceTable.rows",
    "min(self.end_time, max(self.decoded_until, time + one))",
    "self.end_time",
    "tests/pure/test_mp4_fragment_index.py::test_no_frame_is_missing_in_a_piece_that_grows",
)
_break(
    "playback: pieces that left a playlist",
    "A playlist counts the pieces of the files that were removed at its beginning.",
    "camd/playback/rules/playlist.py:_Named.take",
    "self.left_pieces += len(first.pieces())",
    "self.left_pieces += 0",
    f"{PLAYLIST}::test_each_piece_keeps_its_number",
)
_break(
    "playback: a file that was removed by hand",
    "The gap that a missing file leaves is in the answer that found it missing.",
    "camd/playback/playback.py:Playback._pieces_of",
    "removed.append(span.filename)",
    "",
    f"{PLAYED}::test_a_file_that_is_gone_is_not_in_the_range",
)
_break(
    "timeline: missing files",
    "Files that are gone are not shown as recorded.",
    "camd/storage/rules/time_index.py:covered_ranges",
    "gone_begun - gone_over",
    "0",
    f"{TIMELINES}::test_many_files_are_joined_and_counted",
)
_break(
    "timeline: bound of gaps",
    "A time line never has more gaps than its bound.",
    "camd/storage/index/timeline_query.py:_merge",
    "len(gaps) <= MOST_GAPS",
    "True",
    f"{TIMELINES}::test_missing_files_and_entries_together_stay_within_the_bound",
)
_break(
    "timeline: entries that last for long",
    "An outage of weeks is found behind many short entries.",
    "camd/storage/index/timeline_query.py:TimelineQuery._earlier_gaps",
    "self._gap_times.long_starts(camera_id, begin)",
    "[]",
    f"{TIMELINES}::test_an_entry_that_began_long_before_is_found_behind_many_others",
)

TIMED = "tests/pure/test_storage_timed_table.py"
PAGES_WHOLE = f"{TIMED}::test_pages_are_what_looking_at_all_rows_finds"

_break(
    "pages: rows that last for long",
    "A page lists what began days before its range and is not over.",
    "camd/storage/index/timed_table.py:TimedTable._earlier",
    "self.times.long_starts(camera_id, since)",
    "[-1]",
    PAGES_WHOLE,
)
_break(
    "pages: rows that come while times are read",
    "A row is counted once, whether it came before its times were read or after.",
    "camd/storage/index/timed_table.py:TimedTable._knows",
    "self.complete",
    "True",
    PAGES_WHOLE,
)
_break(
    "pages: changes that failed",
    "What was rolled back is not counted.",
    "camd/storage/index/index_database.py:IndexDatabase._changing",
    "table.forget_times()",
    "None",
    f"{TIMED}::test_a_change_that_fails_makes_the_times_unknown",
)
_break(
    "pages: waiting for the times",
    "A time line waits for all times, so that it leaves nothing out.",
    "camd/storage/index/worker.py:IndexWorker.read",
    "while timed and self._reads_times:\n                await self._attempted.wait()",
    "pass",
    "tests/process/test_storage_times_read.py::"
    "test_a_time_line_that_cannot_wait_any_longer_says_why",
)
_break(
    "viewers: frames left out",
    "What a viewer was too slow for is in the metrics.",
    "camd/live/socket_viewer.py:SocketViewer.skipped",
    "self.admitted.count_skipped(lost.frames)",
    "None",
    f"{LIVE}::test_a_recording_does_not_notice_thirty_viewers",
)

KEYS = "tests/pure/test_auth_keys.py"
API_KEYS = "tests/process/test_api_keys.py"

_break(
    "keys: a revoked key is refused at once",
    "When a revocation is answered, the key opens nothing any more.",
    "camd/api/http/key_methods.py:ApiKeysApi._changed",
    "self._authenticator.refresh()",
    "None",
    f"{API_KEYS}::test_a_change_is_in_force_when_it_is_answered",
)
_break(
    "keys: late readings",
    "A reading of the key file that ends late does not bring a revoked key back.",
    "camd/auth/authenticator.py:Authenticator.refresh",
    "with self._reading:\n            self._read_changed(self.file)",
    "self._read_changed(self.file)",
    f"{API_KEYS}::test_a_slow_reading_does_not_bring_a_revoked_key_back",
)
_break(
    "keys: bound",
    "The key file never has more keys than its bound.",
    "camd/auth/key_file.py:KeyFile.add",
    "len(api_keys) >= MAX_KEYS",
    "False",
    f"{KEYS}::test_the_number_of_keys_is_bounded",
)
_break(
    "keys: no path in an answer",
    "A refusal about the key file does not tell where it is.",
    "camd/api/http/key_methods.py:_reason",
    "(error.strerror if isinstance(error, OSError) else None) or type(error).__name__",
    "str(error)",
    f"{API_KEYS}::test_a_file_that_cannot_be_written",
)

FIRST_KEY = "tests/process/test_auth_first_key.py"
ADVICE = "tests/process/test_runtime_access_advice.py"
CONFIG_FILE = "tests/process/test_config_load.py"
PROGRAM_WATCH = "tests/actors/test_camera_program_watch.py"

_break(
    "first start: a full disk",
    "An admin key that the disk did not take is made when there is space.",
    "camd/auth/authenticator.py:FirstKey.make",
    "if self._file.version() is None:\n                self._retry_at = now + _RETRY_SECONDS",
    "pass",
    f"{FIRST_KEY}::test_a_key_that_found_no_space_is_written_later",
)
_break(
    "first start: a key file of somebody",
    "A key file that cannot be written is not tried again and again.",
    "camd/auth/authenticator.py:FirstKey.make",
    "self._file.version() is None",
    "True",
    f"{FIRST_KEY}::test_a_key_file_that_cannot_be_written_is_left_alone",
)
_break(
    "advice: sandbox",
    "A folder that systemd shows read-only is not blamed on its disk.",
    "camd/runtime/folders/access_advice.py:explain_read_only",
    "mount.read_only and not mount.disk_read_only",
    "False",
    f"{ADVICE}::test_a_sandbox_is_told_from_a_disk",
)
_break(
    "advice: innermost mount",
    "Of mounts one upon another the last one counts.",
    "camd/runtime/folders/access_advice.py:find_mount",
    "len(point.parts) >= len(found.point.parts)",
    "len(point.parts) > len(found.point.parts)",
    f"{ADVICE}::test_the_mount_of_a_path_is_the_innermost",
)
_break(
    "advice: modes",
    "The owner has the owner's rights, also where all others have more.",
    "camd/runtime/folders/access_advice.py:mode_allows",
    "6 if status.st_uid == uid else 3 if status.st_gid in gids else 0",
    "3 if status.st_gid in gids else 0",
    f"{ADVICE}::test_modes_say_what_another_user_may",
)
_break(
    "configuration: byte order mark",
    "A file of an editor that begins with a byte order mark is read.",
    "camd/config/load.py:_read_toml",
    'content.decode("utf-8-sig")',
    "content.decode()",
    f"{CONFIG_FILE}::test_a_file_may_come_from_an_editor_of_windows",
)
_break(
    "program: installed later",
    "Cameras no longer say that FFmpeg is missing when it was installed.",
    "camd/camera/program_watch.py:watch_program",
    "show(None)",
    "None",
    f"{PROGRAM_WATCH}::test_a_missing_program_is_shown_until_it_is_installed",
)
_break(
    "check: a full disk",
    "A full disk is not blamed on its file system.",
    "camd/cli/checks/filesystem_check.py:_try",
    "error.errno in (errno.ENOSPC, errno.EDQUOT)",
    "False",
    "tests/process/test_cli_filesystem_check.py::test_a_full_disk_is_not_blamed_on_its_file_system",
)

MUTATIONS = tuple(_made)
