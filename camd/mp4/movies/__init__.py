"""Pure: MP4 headers for exports, snapshots and playback; the samples are copied unchanged."""
