// @ts-check
/**
 * Plays recordings of one camera by the wall clock, over files and gaps. `docs/playback.md` describes
 * what it loads.
 *
 * @typedef {import("./piece_buffer.js").File} File
 * @typedef {{from: string, to: string, cause: string}} Gap
 * @typedef {{since: number, until: number, read: number, files: File[], gaps: Gap[],
 *   after: string | null}} Index
 * @typedef {{file: File, number: number, start: number, end: number}} Place  start, end: wall, ms
 * @typedef {{state: "seeking" | "playing" | "paused" | "waiting" | "gap" | "end" | "error",
 *   wall: number, rate: number, message?: string, from?: number, to?: number, cause?: string}} State
 */

import { PieceBuffer, event } from "./piece_buffer.js";
import { Shuttle } from "./shuttle.js";

const AHEAD_SECONDS = 20; // of media, at normal speed
const BEHIND_SECONDS = 30;
const LONGEST_RATE = 8; // faster, and backwards, key frames are shown
const WINDOW_MS = [60_000, 600_000]; // of an index, before and behind an instant
const TICK_MS = 200;
const GROWING_MS = 1000; // between two looks at a file that grows
const SEEK_PIECES = 2; // browsers end a seek only with some frames behind it
const JOINED = 4; // pieces in one request
const INSIDE_MS = 1; // browsers round times
const BREAK_MS = 500; // shorter ones between files are passed over without a word

/**
 * @param {HTMLVideoElement} video
 * @param {{camera: string, fetchJson: (path: string) => Promise<any>,
 *   onState?: (state: State) => void}} options
 */
export function open(video, { camera, fetchJson, onState = () => {} }) {
  const player = new Player(video, camera, fetchJson, onState);
  return {
    seek: (/** @type {number} */ wallMs) => player.seek(wallMs),
    play: () => player.play(),
    pause: () => player.pause(),
    setRate: (/** @type {number} */ rate) => player.setRate(rate),
    step: (/** @type {number} */ frames) => player.step(frames),
    close: () => player.close(),
    now: () => player.now(),
  };
}

class Player {
  constructor(video, camera, fetchJson, onState) {
    this.video = video;
    this.base = `/play/${encodeURIComponent(camera)}`;
    this.fetchJson = fetchJson;
    this.onState = onState;
    this.rate = 1;
    this.playing = false;
    this.busy = false;
    this.seeks = 0; // those before the last one are given up
    /** @type {Index | null} */ this.index = null;
    this.chain = Promise.resolve(); // loads follow each other
    this.shown = NaN; // media time of the frame in the picture
    this.abort = new AbortController();
    this.media = new PieceBuffer(video, this.abort.signal);
    this.shuttle = new Shuttle(video, this.base, () => this.report("playing"));
    this.timer = setInterval(() => this.tick(), TICK_MS);
    this.watchFrames();
  }

  now() {
    return this.shuttle.active ? this.shuttle.wall : this.media.epoch + this.video.currentTime * 1000;
  }

  report(state, more = {}) {
    this.onState({ state, wall: this.now(), rate: this.rate, ...more });
  }

  fail(error) {
    if (!this.abort.signal.aborted) this.report("error", { message: String(error?.message || error) });
  }

  watchFrames() {
    this.video.requestVideoFrameCallback?.((_, frame) => {
      this.shown = frame.mediaTime;
      if (!this.abort.signal.aborted) this.watchFrames();
    });
  }

  // --- what a person does

  /** Show the frame of an instant; in a gap, the first one behind it. Resolves when it is there. */
  async seek(wallMs) {
    const seek = ++this.seeks;
    this.shuttle.stop();
    this.report("seeking", { wall: wallMs });
    try {
      const place = await this.find(wallMs);
      if (seek !== this.seeks) return;
      if (!place) return this.reportEnd(wallMs);
      if (place.start > wallMs + INSIDE_MS) this.reportGap(wallMs, place.start);
      const wall = Math.min(Math.max(wallMs, place.start + INSIDE_MS), place.end - INSIDE_MS);
      await this.enqueue(seek, async () => {
        if (await this.media.prepare(wall, place.file.mime)) this.applyRate();
        await this.load(place, SEEK_PIECES);
      });
      if (seek !== this.seeks) return;
      await this.move(wall);
      if (seek === this.seeks) this.report(this.playing ? "playing" : "paused");
    } catch (error) {
      if (seek === this.seeks) this.fail(error);
    }
  }

  async play() {
    this.playing = true;
    if (this.fast()) return this.startShuttle();
    if (this.shuttle.active) await this.seek(this.now());
    await this.video.play().catch((error) => this.playing && this.fail(error));
    if (this.playing) this.report("playing");
  }

  pause() {
    this.playing = false;
    this.video.pause();
    if (this.shuttle.active) this.seek(this.now());
    else this.report("paused");
  }

  /** From 0.1 to 8 everything is decoded; faster, and backwards, key frames are shown. */
  setRate(rate) {
    this.rate = rate;
    this.applyRate();
    if (this.playing) this.play();
  }

  applyRate() {
    if (!this.fast()) this.video.playbackRate = this.video.defaultPlaybackRate = this.rate;
  }

  /** Show a frame so many further on, or back. */
  async step(frames) {
    this.playing = false;
    this.video.pause();
    const seconds = 1 / (this.placeAt(this.now())?.file.frame_rate || 25);
    const near = Math.abs(this.shown - this.video.currentTime) < 2 * seconds;
    const shown = near ? this.shown : this.video.currentTime - seconds / 2;
    await this.seek(this.media.epoch + (shown + (frames + 0.5) * seconds) * 1000);
  }

  close() {
    this.seeks++;
    this.playing = false;
    this.abort.abort();
    clearInterval(this.timer);
    this.shuttle.stop();
    this.video.removeAttribute("src");
    this.video.load();
  }

  fast() {
    return this.rate > LONGEST_RATE || this.rate < 0;
  }

  startShuttle() {
    this.video.pause();
    this.shuttle.start(this.now(), this.rate);
  }

  reportGap(from, to) {
    const gaps = this.index?.gaps || [];
    const known = gaps.find((gap) => Date.parse(gap.to) > from && Date.parse(gap.from) < to);
    const why = known ? `missing (${known.cause})` : "not recorded";
    const [begin, end] = [from, to].map((each) => new Date(each).toLocaleTimeString());
    this.report("gap", { from, to, cause: known?.cause, message: `${begin} to ${end}: ${why}` });
  }

  reportEnd(wall) {
    this.report("end", { wall, message: "Nothing was recorded later." });
  }

  // --- where an instant is

  /** @returns {Promise<Place | null>} the piece of an instant, or the first one behind it */
  async find(wallMs) {
    await this.readIndex(wallMs);
    const found = this.placeAt(wallMs);
    const after = this.after();
    if (!found && after > wallMs) {
      await this.readIndex(after + INSIDE_MS);
      return this.placeAt(after);
    }
    return found || this.newest();
  }

  after() {
    return this.index?.after ? Date.parse(this.index.after) : NaN;
  }

  /** The newest piece of a file that grows, for an instant that it has not reached. */
  newest() {
    const newest = [...this.places()].at(-1);
    return newest?.file.growing ? newest : null;
  }

  *places() {
    for (const file of this.index?.files || []) {
      for (const [number, piece] of file.pieces.entries()) {
        const start = file.start_us / 1000 + piece.time * 1000;
        yield { file, number, start, end: start + piece.duration * 1000 };
      }
    }
  }

  /** @returns {Place | null} */
  placeAt(wallMs) {
    let found = null;
    for (const place of this.places()) {
      if (place.start <= wallMs && wallMs < place.end) found = place; // the later file counts
      else if (place.start > wallMs) return found || place;
    }
    return found;
  }

  /** Read the index around an instant, unless it is known. */
  async readIndex(wallMs) {
    const known = this.index;
    const grows = known && (!known.files.length || known.files.some((file) => file.growing));
    const old = grows && performance.now() - known.read > GROWING_MS;
    if (known && !old && wallMs >= known.since && wallMs + WINDOW_MS[0] / 2 < known.until) return;
    const [since, until] = [wallMs - WINDOW_MS[0], wallMs + WINDOW_MS[1]];
    const times = [since, until].map((each) => encodeURIComponent(new Date(each).toISOString()));
    const index = await this.fetchJson(`${this.base}/index.json?from=${times[0]}&to=${times[1]}`);
    this.index = { ...index, since, until, read: performance.now() };
  }

  // --- loading

  /** Do one thing after the other, unless another seek has come. */
  enqueue(seek, work) {
    const done = this.chain.then(() => (seek === this.seeks ? work() : undefined));
    this.chain = done.catch(() => {});
    return done;
  }

  /** Load a piece and those behind it, `count` of them, of one file or of several. */
  async load(place, count) {
    let current = place;
    for (let left = count; left > 0 && current; ) {
      const { file } = current;
      const pieces = file.pieces.slice(current.number, current.number + left);
      const last = pieces[pieces.length - 1];
      if (!pieces.every((piece) => this.media.has(file, piece))) await this.media.append(file, pieces);
      left -= pieces.length;
      current = left && this.placeAt(file.start_us / 1000 + (last.time + last.duration) * 1000);
      if (current?.file === file && current.number < file.pieces.indexOf(last)) return;
    }
  }

  async move(wallMs) {
    const seeked = event(this.video, "seeked");
    this.video.currentTime = (wallMs - this.media.epoch) / 1000;
    await seeked;
  }

  // --- while it plays

  tick() {
    const idle = !this.playing || this.shuttle.active || this.video.seeking;
    if (idle || this.busy || !this.media.ready) return;
    this.busy = true;
    const seek = this.seeks;
    this.goOn(seek)
      .catch((error) => seek === this.seeks && this.fail(error))
      .finally(() => (this.busy = false));
  }

  /** Load what comes next; where something is missing, go on behind it. */
  async goOn(seek) {
    await this.readIndex(this.now());
    if (seek !== this.seeks) return;
    const wall = this.now();
    const here = this.placeAt(wall + 2 * INSIDE_MS);
    if (!here) return this.goToAfter(wall);
    if (here.start > wall + 2 * INSIDE_MS && !this.media.holds(wall)) return this.jump(seek, wall, here);
    const until = wall + AHEAD_SECONDS * 1000 * Math.max(1, this.rate);
    const next = [...this.places()].find(
      ({ file, number, start, end }) =>
        end > wall && start < until && !this.media.has(file, file.pieces[number]),
    );
    if (next) await this.enqueue(seek, () => this.load(next, JOINED));
    else await this.enqueue(seek, () => this.media.forgetBehind(BEHIND_SECONDS));
  }

  async jump(seek, wall, place) {
    if (place.start > wall + BREAK_MS) this.reportGap(wall, place.start);
    await this.enqueue(seek, () => this.load(place, SEEK_PIECES));
    if (seek === this.seeks) await this.move(place.start + INSIDE_MS);
  }

  async goToAfter(wall) {
    if (this.after() > wall) return this.seek(wall);
    if (this.index?.files.at(-1)?.growing) return this.report("waiting");
    this.pause();
    this.reportEnd(wall);
  }
}
