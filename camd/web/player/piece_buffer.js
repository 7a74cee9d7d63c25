// @ts-check
/**
 * A MediaSource whose time is the wall clock minus an epoch: pieces of any file find their place in
 * it. What is far behind the picture is forgotten.
 *
 * @typedef {{begin: number, end: number, time: number, duration: number}} Piece
 * @typedef {{filename: string, start_us: number, duration: number, growing: boolean, mime: string,
 *   codecs: string, frame_rate: number | null, offset: number, edits_offset: number | null,
 *   muted: {mime: string, offset: number} | null, unheard?: string, pieces: Piece[]}} File
 *   `unheard`: the codec of the sound, which the browser does not play: it is left out
 */

const DAY_MS = 86_400_000;
const LENGTH_SECONDS = (31 * DAY_MS) / 1000;
const KEPT_INITS = 64;
const STALL_MS = 150; // browsers stop a little before the end of what they have, …
const LONGEST_STALL_MS = 500; // … with frames that are shown in another order, a few frames more
const BEHIND_SECONDS = 2; // what stays behind the picture when there is no room

/** There is no room for a piece, until more of what is there has been played. */
export class FullError extends Error {}

/** An answer that is no media; `gone`: its file was removed. */
export class PageError extends Error {
  constructor(path, status) {
    super(`${path}: ${status}`);
    this.gone = status === 404;
  }
}

/** The service was not reached: it is tried again. */
export class UnreachableError extends Error {}

/** Wait for a request, which a browser rejects with a `TypeError` when there is no answer. */
export async function reached(request) {
  try {
    return await request;
  } catch (error) {
    throw error instanceof TypeError ? new UnreachableError("The service does not answer") : error;
  }
}

const sourceKind = () => /** @type {any} */ (window).ManagedMediaSource || window.MediaSource;

/** Whether this browser plays media of a type. */
export const plays = (mime) => Boolean(sourceKind()?.isTypeSupported(mime));

const tracksOf = (mime) => mime.split(",").length;

export class PieceBuffer {
  /**
   * @param {HTMLVideoElement} video
   * @param {AbortSignal} signal  ends all loading
   */
  constructor(video, signal) {
    this.video = video;
    this.signal = signal;
    this.epoch = NaN; // ms since 1970
    /** @type {any} */ this.source = null;
    /** @type {any} */ this.buffer = null;
    /** @type {Map<string, {start: number, end: number, bytes: number}>} */ this.loaded = new Map();
    /** @type {Map<string, ArrayBuffer>} */ this.inits = new Map();
    /** @type {File | null} */ this.file = null; // whose init was appended last
    this.last = ""; // the piece that was appended last
    this.mime = ""; // of the buffer
  }

  get ready() {
    return this.buffer !== null;
  }

  get hasSound() {
    return this.mime.includes(","); // it names a second codec
  }

  /** Have a MediaSource in which an instant has a place. */
  async prepare(wallMs, mime) {
    const open = this.source && this.source.readyState !== "closed" && !this.video.error;
    if (open && this.fits(mime) && wallMs > this.epoch && wallMs < this.epoch + 30 * DAY_MS) return false;
    const kind = sourceKind();
    this.source = new kind();
    this.buffer = null;
    this.epoch = Math.floor(wallMs) - DAY_MS;
    this.video.disableRemotePlayback = true;
    const address = URL.createObjectURL(this.source);
    this.video.src = address;
    await event(this.source, "sourceopen");
    URL.revokeObjectURL(address);
    this.source.duration = LENGTH_SECONDS;
    this.buffer = this.source.addSourceBuffer(mime);
    this.mime = mime;
    this.loaded.clear();
    this.file = null;
    return true;
  }

  /** Whether media of a type can be appended: a MediaSource keeps its number of tracks. */
  fits(mime) {
    return tracksOf(mime) === tracksOf(this.mime);
  }

  /** Whether a piece is here in its present length. */
  has(file, piece) {
    return this.loaded.get(key(file, piece))?.bytes === piece.end;
  }

  /** Load pieces of one file that follow each other. */
  async append(file, pieces) {
    const grown = key(file, pieces[0]) === this.last ? this.loaded.get(this.last)?.bytes : undefined;
    const [begin, end] = [grown ?? pieces[0].begin, pieces[pieces.length - 1].end];
    const data = await this.fetchBytes(`/play/${file.filename}/${begin}-${end}.m4s${editsOf(file)}`);
    if (this.file?.filename !== file.filename) await this.begin(file);
    const start = file.start_us / 1e6 - this.epoch / 1000;
    const last = pieces[pieces.length - 1];
    await this.put(data, start + pieces[0].time, start + last.time + last.duration);
    for (const piece of pieces) {
      const [from, to] = [start + piece.time, start + piece.time + piece.duration];
      this.last = key(file, piece);
      this.loaded.set(this.last, { start: from, end: to, bytes: piece.end });
    }
  }

  /** Let what is appended next belong to this file. */
  async begin(file) {
    const { filename } = file;
    const init = this.inits.get(filename) || (await this.fetchBytes(`/play/init/${filename}${editsOf(file)}`));
    this.inits.set(filename, init);
    if (this.inits.size > KEPT_INITS) this.inits.delete(this.inits.keys().next().value);
    if (this.mime !== file.mime) this.buffer.changeType(file.mime);
    this.mime = file.mime;
    this.buffer.timestampOffset = file.start_us / 1e6 - this.epoch / 1000 - offsetOf(file);
    this.file = null; // until there is room for its beginning
    this.last = "";
    await this.put(init);
    this.file = file;
  }

  async fetchBytes(path) {
    const answer = await reached(fetch(path, { signal: this.signal }));
    if (!answer.ok) throw new PageError(path, answer.status);
    return reached(answer.arrayBuffer());
  }

  /** Append what is shown from one time of the media to another. Throws FullError. */
  async put(data, from = NaN, to = NaN) {
    try {
      this.buffer.appendBuffer(data);
    } catch (error) {
      if (error.name !== "QuotaExceededError") throw error;
      await this.makeRoom(from, to);
      this.appendOrFull(data);
    }
    await event(this.buffer, "updateend");
    if (this.source.duration < LENGTH_SECONDS) this.source.duration = LENGTH_SECONDS; // see `finish`
  }

  appendOrFull(data) {
    try {
      this.buffer.appendBuffer(data);
    } catch (error) {
      if (error.name !== "QuotaExceededError") throw error;
      throw new FullError("The browser has no room for more of this recording");
    }
  }

  /** Forget what is behind the picture, and behind what comes; all, where the picture moves away. */
  async makeRoom(from, to) {
    const now = this.video.currentTime;
    const follows = from >= now - BEHIND_SECONDS && from < now + this.secondsLeft() + 1;
    await this.forget(0, follows || Number.isNaN(from) ? now - BEHIND_SECONDS : from);
    await this.forget(to, Infinity);
  }

  /** Seconds from the picture to the end of what follows it without a break; 0: nothing does. */
  secondsLeft() {
    const { buffered } = this.buffer;
    const now = this.video.currentTime;
    for (let n = 0; n < buffered.length; n++)
      if (buffered.start(n) <= now + 0.1 && now < buffered.end(n)) return buffered.end(n) - now;
    return 0;
  }

  /**
   * How far before the end of what it has the browser may have stopped, at a speed. It shows no
   * pictures beyond the end of their sound, so it may be before the end of the piece, too.
   * @param {number} speed @param {number} restMs to the end of the piece
   */
  stallMs(speed, restMs) {
    const left = this.secondsLeft() * 1000 + 2;
    return Math.max(STALL_MS * speed, left < LONGEST_STALL_MS ? Math.max(left, restMs) : 0);
  }

  /**
   * Say that nothing follows the picture: decoders keep back the last frames until they know. What
   * is appended later takes it back.
   */
  async finish() {
    const { buffered } = this.buffer;
    for (let n = 0; n < buffered.length; n++)
      if (buffered.start(n) > this.video.currentTime) {
        await this.forget(buffered.start(n), Infinity);
        break;
      }
    if (this.source.readyState === "open") this.source.endOfStream();
  }

  /** Forget what lies between two times of the media. */
  async forget(from, to) {
    if (!(from < to)) return;
    this.buffer.remove(from, to);
    await event(this.buffer, "updateend");
    for (const [name, kept] of this.loaded)
      if (kept.end > from && kept.start < to) this.loaded.delete(name);
  }

  /** Forget what is further back than some seconds, once it is twice as much. */
  async forgetBehind(seconds) {
    const { buffered } = this.buffer;
    const now = this.video.currentTime;
    if (buffered.length && now - buffered.start(0) > 2 * seconds) await this.forget(0, now - seconds);
  }

  /** Whether there is a picture of an instant, and of a moment behind it. */
  holds(wallMs) {
    const [time, ranges] = [(wallMs - this.epoch) / 1000, this.buffer.buffered];
    for (let n = 0; n < ranges.length; n++)
      if (ranges.start(n) <= time && time < ranges.end(n) - 0.02) return true;
    return false;
  }
}

/** Firefox leaves out pictures beside sound with an edit list: times without one are asked for. */
const APPLIES_EDITS = navigator.userAgent.includes("Firefox/");

function editsOf(file) {
  if (file.unheard) return "?sound=off";
  return APPLIES_EDITS && file.edits_offset !== null ? "?edits=applied" : "";
}

function offsetOf(file) {
  if (file.unheard) return file.muted.offset;
  return editsOf(file) ? file.edits_offset : file.offset;
}

function key(file, piece) {
  return `${file.filename}/${piece.begin}`;
}

/** @returns {Promise<void>} resolves at the next event; rejects when there is an error instead */
export function event(target, name) {
  return new Promise((resolve, reject) => {
    const end = (settle) => () => {
      target.removeEventListener(name, ended);
      target.removeEventListener("error", failed);
      settle();
    };
    const ended = end(resolve);
    const failed = end(() => reject(new Error(`${name} did not come: the media cannot be played`)));
    target.addEventListener(name, ended);
    target.addEventListener("error", failed);
  });
}
