"""The choice of a format: the rule by examples, and properties for any camera."""

from __future__ import annotations

import random

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from camd.devices.v4l2.formats import (
    COPIED_PIXELS,
    ENCODED_PIXELS,
    INPUT_FORMATS,
    FormatRefusal,
    FormatRequest,
    choose_format,
    in_range,
    modes,
)
from camd.model import Capabilities, FormatChoice, FrameSize, PixelFormat, Rates, SizeRange

CODECS = ("auto", "copy", "h264", "h265", "mjpeg")


def offer(fourcc: str, *sizes: str, span: SizeRange | None = None) -> PixelFormat:
    """Describe a format by texts such as "1280x720@30,15"."""
    listed = []
    for text in sizes:
        size, _, rates = text.partition("@")
        width, height = map(int, size.split("x"))
        numbers = tuple(float(rate) for rate in rates.split(",") if rate)
        listed.append(FrameSize(width, height, Rates(numbers)))
    return PixelFormat(fourcc, fourcc, fourcc in ("MJPG", "JPEG", "H264"), tuple(listed), span)


def camera(*formats: PixelFormat) -> Capabilities:
    """Describe a camera."""
    return Capabilities("uvcvideo", "Camera", "usb-1", formats)


def only(fourcc: str, *sizes: str) -> Capabilities:
    """Describe a camera with one format."""
    return camera(offer(fourcc, *sizes))


WEBCAM = camera(
    offer("YUYV", "640x480@30,15", "1280x720@10,5"),
    offer("MJPG", "640x480@60,30", "1280x720@60,30,15", "1920x1080@30", "2560x1440@30"),
)
SMART = camera(*WEBCAM.formats, offer("H264", "1920x1080@30,15", "1280x720@30", "3840x2160@30"))


def chosen(capabilities: Capabilities, **request: object) -> tuple[object, ...]:
    """Choose, and return the essence of it."""
    choice = choose_format(capabilities, FormatRequest(**request))  # type: ignore[arg-type]
    assert isinstance(choice, FormatChoice), choice
    what = "copied" if choice.copied else choice.encoder
    return choice.input_format, f"{choice.width}x{choice.height}", choice.fps, what


def refused(capabilities: Capabilities, **request: object) -> FormatRefusal:
    """Choose, and return the refusal."""
    answer = choose_format(capabilities, FormatRequest(**request))  # type: ignore[arg-type]
    assert isinstance(answer, FormatRefusal), answer
    return answer


@pytest.mark.parametrize(
    ("capabilities", "wanted", "answer"),
    [
        (SMART, {}, ("h264", "1920x1080", 30.0, "copied")),
        (WEBCAM, {}, ("mjpeg", "1280x720", 30.0, "h264")),
        (WEBCAM, {"codec": "copy"}, ("mjpeg", "1920x1080", 30.0, "copied")),
        (WEBCAM, {"codec": "mjpeg"}, ("mjpeg", "1920x1080", 30.0, "copied")),
        (SMART, {"codec": "h265"}, ("mjpeg", "1280x720", 30.0, "h265")),
        (SMART, {"width": 640, "height": 480}, ("mjpeg", "640x480", 30.0, "h264")),
        (SMART, {"fps": 15}, ("h264", "1920x1080", 15.0, "copied")),
        (SMART, {"fps": 60}, ("mjpeg", "1280x720", 60.0, "h264")),
        (SMART, {"width": 3840, "height": 2160}, ("h264", "3840x2160", 30.0, "copied")),
        (WEBCAM, {"width": 2560, "height": 1440}, ("mjpeg", "2560x1440", 30.0, "h264")),
        (WEBCAM, {"width": 1280, "height": 720, "fps": 10}, ("yuyv422", "1280x720", 10.0, "h264")),
        (WEBCAM, {"fps": 29.97}, ("mjpeg", "1280x720", 30.0, "h264")),
        (only("YUYV", "640x480@25", "160x120@30"), {}, ("yuyv422", "640x480", 25.0, "h264")),
        (only("YUYV", "640x480@60,90"), {}, ("yuyv422", "640x480", 60.0, "h264")),
        (only("MJPG", "4000x3000@5", "3000x2000@5"), {}, ("mjpeg", "3000x2000", 5.0, "h264")),
        (camera(offer("GREY", "1280x720@30"), offer("NV12", "320x240@30")), {},
         ("nv12", "320x240", 30.0, "h264")),
        (only("GREY", "640x400@30"), {}, ("gray", "640x400", 30.0, "h264")),
        (only("Y16 ", "160x120@9"), {}, ("gray16le", "160x120", 9.0, "h264")),
        (only("H264", "640x480@30"), {"codec": "mjpeg"}, ("h264", "640x480", 30.0, "mjpeg")),
        (only("YUYV", "640x480"), {}, ("yuyv422", "640x480", 0.0, "h264")),
        (only("YUYV", "640x480"), {"fps": 12}, ("yuyv422", "640x480", 12.0, "h264")),
        (only("YUYV"), {}, ("yuyv422", "0x0", 0.0, "h264")),
        (only("YUYV"), {"width": 720, "height": 576}, ("yuyv422", "720x576", 0.0, "h264")),
    ],
)  # fmt: skip
def test_the_rule_by_examples(
    capabilities: Capabilities, wanted: dict[str, object], answer: tuple[object, ...]
) -> None:
    """Choices for a usual webcam, for one with H.264, and for unusual ones."""
    assert chosen(capabilities, **wanted) == answer


def test_a_range_of_sizes_and_rates_is_used() -> None:
    """Any size and rate within the range and on its steps is accepted, and no other."""
    span = SizeRange((16, 16), (2592, 1944), (8, 2), Rates(limits=(1.0, 90.0)))
    sensor = camera(offer("YUYV", span=span))
    assert chosen(sensor) == ("yuyv422", "1280x720", 30.0, "h264")
    assert chosen(sensor, width=1000, height=702, fps=47.5)[1:3] == ("1000x702", 47.5)
    assert refused(sensor, width=1001, height=702).sizes
    assert refused(sensor, width=640, height=480, fps=120).rates == (90.0, 1.0)


def test_of_two_formats_with_one_name_ffmpegs_is_chosen() -> None:
    """YU12 and YV12 are both yuv420p, and FFmpeg tries YU12 first."""
    both = camera(offer("YV12", "1280x720@30"), offer("YU12", "640x480@30"))
    assert chosen(both) == ("yuv420p", "640x480", 30.0, "h264")
    assert refused(both, width=1280, height=720).sizes == ((640, 480),)


def test_the_reason_names_format_size_and_rate() -> None:
    """It also says whether the pictures are copied or encoded."""
    encoded = "MJPEG at 1280x720, 30 frames/s, encoded"
    words = {
        (SMART, ""): "H.264 from the camera at 1920x1080, 30 frames/s: copied",
        (WEBCAM, ""): f"the camera has no H.264; {encoded}",
        (WEBCAM, "h265"): f"the camera has no H.265; {encoded} as H.265",
    }
    for (capabilities, codec), sentence in words.items():
        choice = choose_format(capabilities, FormatRequest(codec=codec or "auto"))
        assert isinstance(choice, FormatChoice)
        assert choice.why == sentence
    choice = choose_format(SMART, FormatRequest(640, 480))
    assert isinstance(choice, FormatChoice)
    assert choice.why.startswith("the camera has no H.264 of the size and rate that are asked for;")


def test_a_refusal_says_what_is_possible() -> None:
    """It has the nearest sizes, the rates of the size, or the codecs that are possible."""
    size = refused(WEBCAM, width=1300, height=700)
    assert size.sizes[0] == (1280, 720)
    assert size.possible[0] == "MJPEG 1280x720: 60, 30, 15 frames/s"
    assert "does not offer 1300x700; the nearest: 1280x720" in size.message
    rate = refused(WEBCAM, width=1920, height=1080, fps=50)
    assert rate.rates == (30.0,)
    assert rate.message == (
        "The camera does not offer 1920x1080 at 50 frames/s; there it offers 30 frames/s"
    )
    assert refused(WEBCAM, fps=200).rates[:2] == (60.0, 30.0)
    raw = refused(only("YUYV", "640x480@30"), codec="copy")
    assert raw.possible == ('YUYV 640x480: 30 frames/s with codec "h264"',)
    assert refused(only("pRAA", "640x480@30")).message == (
        "The camera offers none that FFmpeg can read (pRAA)"
    )
    assert refused(camera()).possible == ()


# --- properties ---------------------------------------------------------------------------

RATES = st.one_of(
    st.just(Rates()),
    st.lists(st.sampled_from([5.0, 10.0, 15.0, 24.0, 25.0, 30000 / 1001, 30.0, 60.0]), min_size=1)
    .map(lambda found: Rates(tuple(found))),
    st.tuples(st.floats(0.5, 20), st.floats(20, 120)).map(lambda ends: Rates(limits=ends)),
)  # fmt: skip
SIDE = st.integers(1, 400).map(lambda number: number * 8)
SIZES = st.builds(FrameSize, SIDE, SIDE, RATES)
SPANS = st.builds(
    SizeRange,
    st.tuples(st.integers(1, 4), st.integers(1, 4)).map(lambda least: (least[0] * 8, least[1] * 8)),
    st.tuples(SIDE, SIDE).map(lambda most: (most[0] + 32, most[1] + 32)),
    st.sampled_from([(1, 1), (8, 8), (16, 2), (0, 0)]),
    RATES,
)
FORMATS = st.builds(
    PixelFormat,
    st.sampled_from([*INPUT_FORMATS, "pRAA", "HEVC"]),
    st.just(""),
    st.booleans(),
    st.lists(SIZES, max_size=4).map(tuple),
    st.none() | SPANS,
)
CAMERAS = st.lists(FORMATS, max_size=5, unique_by=lambda each: each.fourcc).map(
    lambda formats: camera(*formats)
)
REQUESTS = st.builds(
    FormatRequest,
    st.none() | SIDE,
    st.none() | SIDE,
    st.none() | st.floats(1, 120),
    st.sampled_from(CODECS),
)


def is_offered(capabilities: Capabilities, choice: FormatChoice) -> bool:
    """Look a choice up in what the driver said, the long way round."""
    for each in capabilities.formats:
        spans = [each.size_range] if each.size_range else []
        sizes = [size for size in each.sizes if (size.width, size.height) == _size(choice)]
        sizes += [s for s in spans if in_range(s, choice.width, choice.height)]  # type: ignore[misc]
        silent = not each.sizes and not each.size_range
        rates = [Rates()] if silent else [size.rates for size in sizes]
        if each.fourcc == choice.fourcc and any(_has_rate(r, choice.fps) for r in rates):
            return True
    return False


def _size(choice: FormatChoice) -> tuple[int, int]:
    return choice.width, choice.height


def _has_rate(rates: Rates, fps: float) -> bool:
    within = rates.limits is not None and rates.limits[0] <= fps <= rates.limits[1]
    return fps in rates.listed or within or rates == Rates()


@given(CAMERAS, REQUESTS)
def test_a_choice_is_always_something_that_the_camera_offers(
    capabilities: Capabilities, request: FormatRequest
) -> None:
    """Format, size and rate are the driver's, requests are met within 1 %, nothing is raised."""
    answer = choose_format(capabilities, request)
    if isinstance(answer, FormatRefusal):
        assert answer.message
        return
    assert is_offered(capabilities, answer)
    assert answer.input_format == INPUT_FORMATS[answer.fourcc]
    assert answer.copied == (answer.encoder == "")
    if request.width and request.height:
        assert _size(answer) == (request.width, request.height)
    if request.fps:
        assert abs(answer.fps - request.fps) <= 0.0101 * request.fps
    if request.codec == "copy":
        assert answer.copied


@given(CAMERAS, st.sampled_from(["auto", "h264", "h265", "mjpeg"]), st.data())
def test_a_request_for_a_listed_mode_is_never_refused(
    capabilities: Capabilities, codec: str, data: st.DataObject
) -> None:
    """Every size and rate that the camera lists can be requested."""
    offered = modes(capabilities)
    if not offered:
        return
    mode = data.draw(st.sampled_from(offered))
    rates = [*mode.rates.listed, *(mode.rates.limits or ())]
    fps = data.draw(st.sampled_from(rates)) if rates else None
    answer = choose_format(
        capabilities, FormatRequest(mode.width or 640, mode.height or 480, fps, codec)
    )
    assert isinstance(answer, FormatChoice), answer


@given(CAMERAS, REQUESTS, st.integers())
def test_the_order_of_the_drivers_lists_changes_nothing(
    capabilities: Capabilities, request: FormatRequest, seed: int
) -> None:
    """Formats, sizes and rates may be listed in any order."""
    luck = random.Random(seed)

    def mixed(rates: Rates) -> Rates:
        return attrs.evolve(rates, listed=tuple(luck.sample(rates.listed, len(rates.listed))))

    formats = []
    for each in luck.sample(capabilities.formats, len(capabilities.formats)):
        sizes = [attrs.evolve(size, rates=mixed(size.rates)) for size in each.sizes]
        formats.append(attrs.evolve(each, sizes=tuple(luck.sample(sizes, len(sizes)))))
    assert choose_format(camera(*formats), request) == choose_format(capabilities, request)


@given(CAMERAS)
def test_without_a_request_pictures_are_limited(capabilities: Capabilities) -> None:
    """Pictures above the limit are chosen only where the camera has no smaller ones."""
    answer = choose_format(capabilities, FormatRequest())
    if isinstance(answer, FormatChoice):
        most = COPIED_PIXELS if answer.copied else ENCODED_PIXELS
        same = [m for m in modes(capabilities) if m.fourcc == answer.fourcc]
        assert answer.width * answer.height <= max(most, min(m.pixels for m in same))
