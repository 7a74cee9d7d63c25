"""The method that describes exports, and how exports are named in addresses and answers."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote, urlencode

import attrs

from camd.api import result_fields
from camd.api.camera_methods import DEVICE, CameraName
from camd.camera.cameras import Cameras
from camd.contract.export_results import ExportInfo
from camd.contract.result_types import Time, doc
from camd.export.exports import Export, ExportPart, Exports, ExportSource
from camd.export.rules.export_plan import ExportGap, ExportRange
from camd.model.notation import format_instant
from camd.rpc.registry import Caller, method
from camd.rpc.roles import Role


@attrs.frozen
class ExportRequest:
    """A camera, and the frames of it whose time lies from `from` to before `to`."""

    device: CameraName = attrs.field(metadata=DEVICE)
    begin: Annotated[Time, doc("the first instant")] = attrs.field(metadata={"name": "from"})
    end: Annotated[Time, doc("the instant behind the last; at most 24 hours later")] = attrs.field(
        metadata={"name": "to"}
    )


@attrs.define(eq=False)
class ExportsApi:
    """The handler over recordings of cameras, those that are not configured any more included."""

    _cameras: Cameras
    _exports: Exports

    @method(role=Role.VIEWER, result=ExportInfo)
    async def get_export(self, caller: Caller, params: ExportRequest) -> result_fields.View:
        """Describe what a download of a range will hold, and what is missing in it."""
        wanted = await export_range(self._cameras, self._exports, params)
        return _export(await self._exports.describe(wanted))


async def export_range(cameras: Cameras, exports: Exports, params: ExportRequest) -> ExportRange:
    """Return the range of a request. Raises Refusal: an unknown camera without recordings."""
    camera_id = await cameras.locate_also_former(params.device, exports.has_recordings)
    return ExportRange(camera_id, params.begin, params.end)


def _export(found: Export) -> result_fields.View:
    first, last = found.parts[0], found.parts[-1]
    return {
        "camera_id": found.wanted.camera_id,
        "url": url_of(found, first),
        "size": sum(part.size_bytes for part in found.parts),
        "duration": round(sum(part.duration_seconds for part in found.parts), 6),
        "frames": sum(part.frames for part in found.parts),
        "start_time": first.start,
        "end_time": last.end,
        "lead_in": first.lead_in,
        "gaps": [_gap(each) for each in found.gaps],
        "sources": [_source(part, each) for part in found.parts for each in part.sources],
        "parts": [_part(found, part) for part in found.parts],
        "searching": found.searching,
    }


def _part(found: Export, part: ExportPart) -> result_fields.View:
    segment = part.sources[0].segment
    return {
        "part": part.number,
        "url": url_of(found, part),
        "size": part.size_bytes,
        "etag": part.etag,
        "duration": round(part.duration_seconds, 6),
        "frames": part.frames,
        "start_time": part.start,
        "end_time": part.end,
        "lead_in": part.lead_in,
        "codec": result_fields.codec(part.codec),
        "resolution": result_fields.resolution(segment.width, segment.height),
    }


def _source(part: ExportPart, source: ExportSource) -> result_fields.View:
    """Bytes of a recording; `sha256` is the recording's, from byte 48 on, null while it grows."""
    return {
        "file": source.segment.filename,
        "sha256": source.segment.sha256,
        "begin": source.span.begin,
        "end": source.span.end,
        "part": part.number,
    }


def _gap(found: ExportGap) -> result_fields.View:
    return {
        "from": found.start,
        "to": found.end,
        "duration": round(found.seconds, 6),
        "frames": found.frames,
        "cause": found.cause,
        "exact": found.exact,
    }


def url_of(found: Export, part: ExportPart) -> str:
    """Return the address of a part. Where the file grows, it ends at the last frame of now.

    So the same bytes come later.
    """
    end = found.parts[-1].end if found.growing else found.wanted.end
    query = {"from": format_instant(found.wanted.begin), "to": format_instant(end)}
    if len(found.parts) > 1:
        query["part"] = str(part.number)
    return f"/export/{quote(found.wanted.camera_id, safe='')}.mp4?{urlencode(query, safe=':')}"
