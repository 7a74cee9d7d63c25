// @ts-check
/**
 * What live view is shown on: a video element with a MediaSource, or a canvas for single pictures.
 *
 * @typedef {{shown(): void, failed(why: string): void, muted(): void,
 *   streaming(wanted: boolean): void}} Events
 *   `shown`: there is a new picture. `muted`: the browser allows no sound. `failed`: everything has
 *   to begin anew. `streaming`: whether the browser wants more.
 */

import { Lateness, rateFor, reachOf } from "./pace.js";
import { play } from "./play.js";

const TARGET = 0.1; // seconds behind the newest frame; more where frames are further apart
const TARGET_HEARD = 0.3; // with sound, of which a browser keeps more ahead: else it stops
const MOST_BEHIND = 1; // seconds more than that, then it jumps
const SLACK = 0.03; // seconds from the target, at the rate of real time
const SLACK_HEARD = 0.1; // another rate is heard
const KEPT = 10; // seconds behind the picture that is shown
const MOST_WAITING = 16 << 20; // bytes that the SourceBuffer has not taken
const CHANGES_RATE = !/Apple/.test(navigator.vendor); // Safari buffers anew after each change

/** Video: fragments are appended to a SourceBuffer, and the element is kept near their end. */
export class VideoScreen {
  /** @param {boolean} heard whether there is sound that is heard */
  constructor(video, mime, heard, overlay, events) {
    Object.assign(this, { video, overlay, events });
    this.target = heard ? TARGET_HEARD : TARGET;
    this.slack = heard ? SLACK_HEARD : SLACK;
    this.waiting = [];
    this.step = 0; // seconds from one append to the next, on average
    this.playable = 0;
    this.lateness = new Lateness();
    this.started = false;
    const source = (this.source = new (mediaSource())());
    this.managed = "streaming" in source;
    if (this.managed) {
      video.disableRemotePlayback = true;
      source.addEventListener("startstreaming", () => (events.streaming(true), this.pump()));
      source.addEventListener("endstreaming", () => events.streaming(false));
    }
    source.addEventListener("sourceopen", () => this.open(mime), { once: true });
    this.address = URL.createObjectURL(source);
    video.src = this.address;
    this.onError = () => events.failed(video.error?.message || "The picture cannot be decoded");
    video.addEventListener("error", this.onError);
    this.timer = setInterval(() => this.keepUp(), 200);
  }

  open(mime) {
    if (this.closed || this.source.readyState !== "open") return; // it was closed meanwhile
    this.buffer = this.source.addSourceBuffer(mime);
    this.buffer.addEventListener("updateend", () => (this.keepUp(), this.pump()));
    this.buffer.addEventListener("error", this.onError);
    this.pump();
  }

  append(data) {
    this.waiting.push(data);
    const bytes = this.waiting.reduce((sum, each) => sum + each.byteLength, 0);
    if (bytes > MOST_WAITING) this.events.failed("The browser is too slow");
    else this.pump();
  }

  pump() {
    if (this.closed || !this.buffer || this.buffer.updating || this.video.error) return;
    if (this.managed && !this.source.streaming) return;
    try {
      if (this.waiting.length) this.buffer.appendBuffer(joined(this.waiting.splice(0)));
      else this.forget();
    } catch (error) {
      this.events.failed(String(error));
    }
  }

  /** Remove what was shown long ago. */
  forget() {
    const { buffered } = this.buffer, until = this.video.currentTime - KEPT;
    if (buffered.length && buffered.start(0) < until - KEPT) this.buffer.remove(0, until);
  }

  keepUp() {
    if (this.closed || !this.buffer?.buffered.length) return;
    const { video } = this, position = video.currentTime;
    const { start, playable, end } = reachOf(this.buffer.buffered, position);
    const grown = playable - this.playable;
    if (grown > 0 && this.playable) this.step += 0.1 * (Math.min(grown, 2) - this.step);
    this.playable = playable;
    this.lateness.note(end, performance.now() / 1000);
    const target = Math.max(this.target, 1.3 * this.step);
    const most = CHANGES_RATE ? MOST_BEHIND + target : 0.5 + target;
    if (!this.started || end - position > most || end - position < -0.5 || position < start) {
      video.currentTime = Math.max(start, end - target);
      this.started ||= this.start();
    } else if (CHANGES_RATE) {
      const rate = rateFor(playable - position, target, this.slack);
      if (rate === 1 || Math.abs(rate - video.playbackRate) > 0.02) video.playbackRate = rate;
    }
  }

  /** Go on where the browser has paused a page that was hidden. */
  resume() {
    if (this.started && this.video.paused) this.video.play().catch(() => {});
  }

  start() {
    play(this.video, () => !this.closed && this.events.muted()).catch(() => {});
    const seen = () => {
      if (this.closed) return;
      this.overlay.hide();
      this.events.shown();
      this.frame = this.video.requestVideoFrameCallback?.(seen);
    };
    if (this.video.requestVideoFrameCallback) this.frame = this.video.requestVideoFrameCallback(seen);
    else this.video.addEventListener("timeupdate", seen, { once: true });
    return true;
  }

  /** Seconds for which nothing new has come, of sound or of pictures, and seconds too late. */
  lag() {
    return { waits: this.lateness.waits(performance.now() / 1000), behind: this.lateness.behind };
  }

  /** Seconds from the media time `media` to the picture that is shown. */
  shownSeconds(media) {
    return this.video.currentTime - media;
  }

  close() {
    this.closed = true;
    clearInterval(this.timer);
    this.video.removeEventListener("error", this.onError);
    if (this.frame) this.video.cancelVideoFrameCallback(this.frame);
    this.video.removeAttribute("src");
    this.video.load();
    URL.revokeObjectURL(this.address);
  }
}

/** Pictures: each JPEG is drawn; while one is decoded, only the newest waits. */
export class PictureScreen {
  constructor(overlay, events) {
    Object.assign(this, { overlay, events });
  }

  async append(data) {
    this.next = data;
    if (this.busy) return;
    this.busy = true;
    while (this.next && !this.closed) {
      const blob = new Blob([this.next], { type: "image/jpeg" });
      this.next = null;
      const picture = await createImageBitmap(blob).catch(() => null);
      if (picture && !this.closed) this.show(picture);
      picture?.close();
    }
    this.busy = false;
  }

  resume() {}

  show(picture) {
    this.drawn = performance.now();
    this.overlay.draw(picture);
    this.events.shown();
  }

  lag() {
    return { waits: this.drawn ? (performance.now() - this.drawn) / 1000 : 0, behind: 0 };
  }

  /** Seconds from the beginning of the stream to the picture that is shown. */
  shownSeconds(_, began) {
    return Math.max(0, (this.drawn ?? began) - began) / 1000;
  }

  close() {
    this.closed = true;
  }
}

/** The canvas over the video. */
export class Overlay {
  constructor(video) {
    this.video = video;
    this.canvas = document.createElement("canvas");
    this.canvas.className = "live-picture";
    const style = { position: "absolute", inset: "0", width: "100%", height: "100%" };
    Object.assign(this.canvas.style, style, { objectFit: "contain", pointerEvents: "none" });
    this.canvas.hidden = true;
    video.after(this.canvas);
  }

  draw(picture, width = picture.width, height = picture.height) {
    if (this.canvas.width !== width) this.canvas.width = width;
    if (this.canvas.height !== height) this.canvas.height = height;
    this.canvas.getContext("2d")?.drawImage(picture, 0, 0);
    this.canvas.hidden = false;
  }

  /** Keep the picture that the video shows. */
  keep() {
    const { videoWidth, videoHeight, readyState } = this.video;
    if (videoWidth && readyState >= 2) this.draw(this.video, videoWidth, videoHeight);
  }

  hide() {
    this.canvas.hidden = true;
  }

  remove() {
    this.canvas.remove();
  }
}

/** What takes the fragments; undefined: this browser cannot play them. */
export function mediaSource() {
  return globalThis.ManagedMediaSource ?? globalThis.MediaSource;
}

/** @param {ArrayBuffer[]} parts */
function joined(parts) {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.byteLength, 0));
  let at = 0;
  for (const part of parts) (whole.set(new Uint8Array(part), at), (at += part.byteLength));
  return whole;
}
