// @ts-check
/**
 * Plays recordings of one camera by the wall clock, over files and gaps. `docs/playback.md` describes
 * what it loads.
 *
 * @typedef {{state: "seeking" | "playing" | "paused" | "waiting" | "gap" | "end" | "error" | "muted",
 *   wall: number, rate: number, hasSound: boolean, message?: string, from?: number, to?: number, cause?: string}} State
 */

import { FullError, PieceBuffer, event } from "./piece_buffer.js";
import { play } from "./play.js";
import { INSIDE_MS, RecordedIndex } from "./recorded_index.js";
import { Shuttle } from "./shuttle.js";

const AHEAD_SECONDS = 20; // of media, at normal speed
const BEHIND_SECONDS = 30;
const FULL_SHARE = 0.75; // of what was there when there was no room for more; then it is tried again
const LONGEST_RATE = 8; // faster, and backwards, key frames are shown
const TICK_MS = 200;
const SEEK_PIECES = 2; // browsers end a seek only with some frames behind it
const JOINED = 4; // pieces in one request
const LATE_MS = 400; // for a seek, before the browser is told that no frames follow
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
    Object.assign(this, { video, onState });
    const base = `/play/${encodeURIComponent(camera)}`;
    this.rate = 1;
    this.playing = false;
    this.busy = false;
    this.before = NaN; // where it was a moment ago
    this.seeks = 0; // those before the last one are given up
    this.room = Infinity; // seconds of media that the browser has room for
    this.index = new RecordedIndex(base, fetchJson);
    this.chain = Promise.resolve(); // loads follow each other
    this.shown = NaN; // media time of the frame in the picture
    this.abort = new AbortController();
    this.media = new PieceBuffer(video, this.abort.signal);
    this.shuttle = new Shuttle(video, base, () => this.report("playing"));
    this.timer = setInterval(() => this.tick(), TICK_MS);
    this.watchFrames();
  }

  now() {
    return this.shuttle.active ? this.shuttle.wall : this.media.epoch + this.video.currentTime * 1000;
  }

  report(state, more = {}) {
    const { rate, media: { hasSound } } = this;
    this.onState({ state, wall: this.now(), rate, hasSound, ...more });
  }

  fail(error) {
    if (!this.abort.signal.aborted) this.report("error", { message: String(error?.message || error) });
  }

  /** A file may be removed after its place was read: then look again, once a second. */
  async recover(error, again) {
    if (!error?.gone) return this.fail(error);
    if (this.index.forget()) return again();
    this.fail(error);
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
      const place = await this.index.find(wallMs);
      if (seek !== this.seeks) return;
      if (!place) return this.reportEnd(wallMs);
      if (place.start > wallMs + INSIDE_MS) this.reportGap(wallMs, place.start);
      const wall = Math.min(Math.max(wallMs, place.start + INSIDE_MS), place.end - INSIDE_MS);
      await this.enqueue(seek, async () => {
        if (await this.media.prepare(wall, place.file.mime)) this.applyRate();
        await this.loadThere(place);
      });
      if (seek !== this.seeks) return;
      await this.move(wall);
      if (seek === this.seeks) this.report(this.playing ? "playing" : "paused");
    } catch (error) {
      if (seek === this.seeks) await this.recover(error, () => this.seek(wallMs));
    }
  }

  async play() {
    this.playing = true;
    if (this.fast()) return this.startShuttle();
    if (this.shuttle.active) await this.seek(this.now());
    await play(this.video, () => this.report("muted")).catch((error) => this.playing && this.fail(error));
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
    const file = this.index.placeAt(this.now())?.file;
    const seconds = 1 / (file?.frame_rate || 25);
    const age = this.video.currentTime - this.shown; // what is told of an earlier picture is older
    const shown = age > -0.001 && age < seconds * 1.02 ? this.shown : this.estimate(file, seconds);
    await this.seek(this.media.epoch + (shown + (frames + 0.5) * seconds) * 1000);
  }

  /** When the frame in the picture began, in a file whose frames follow evenly; media time. */
  estimate(file, seconds) {
    const start = file ? (file.start_us / 1000 - this.media.epoch) / 1000 : 0;
    return start + Math.floor((this.video.currentTime - start) / seconds + 0.001) * seconds;
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
    const known = this.index.gapWithin(from, to);
    const why = known ? `missing (${known.cause})` : "not recorded";
    const [begin, end] = [from, to].map((each) => new Date(each).toLocaleTimeString());
    this.report("gap", { from, to, cause: known?.cause, message: `${begin} to ${end}: ${why}` });
  }

  reportEnd(wall) {
    this.report("end", { wall, message: "Nothing was recorded later." });
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
      current = left && this.index.placeAt(file.start_us / 1000 + (last.time + last.duration) * 1000);
      if (current?.file === file && current.number < file.pieces.indexOf(last)) return;
    }
  }

  async move(wallMs) {
    const seeked = event(this.video, "seeked");
    this.video.currentTime = (wallMs - this.media.epoch) / 1000;
    const seek = this.seeks;
    const finish = () => this.enqueue(seek, () => this.media.finish());
    const late = setTimeout(finish, LATE_MS);
    await seeked.finally(() => clearTimeout(late));
    for (let n = 0; n < 2; n++) await new Promise((resolve) => requestAnimationFrame(resolve));
  }

  // --- while it plays

  tick() {
    const idle = !this.playing || this.shuttle.active || this.video.seeking;
    if (idle || this.busy || !this.media.ready) return;
    this.busy = true;
    const seek = this.seeks;
    this.goOn(seek)
      .catch((error) => seek === this.seeks && this.recover(error, () => {}))
      .finally(() => (this.busy = false));
  }

  /** Load what comes next; where something is missing, go on behind it. */
  async goOn(seek) {
    await this.index.read(this.now());
    if (seek !== this.seeks) return;
    const wall = this.now();
    const stalled = wall === this.before && !this.video.paused;
    this.before = wall;
    const missing = this.missing(wall);
    if (missing) return this.enqueue(seek, () => this.loadAhead(missing, wall));
    const speed = Math.max(1, this.rate);
    const here = this.index.placeAt(wall + (stalled ? this.media.stallMs(speed) : 2 * INSIDE_MS));
    if (!here) return this.goToAfter(wall);
    const behind = here.start > wall + 2 * INSIDE_MS;
    if (behind && (stalled || !this.media.holds(wall))) return this.jump(seek, wall, here);
    await this.enqueue(seek, () => this.media.forgetBehind(BEHIND_SECONDS));
  }

  /** Load what the picture moves to; without room, in place of all that is there. */
  async loadThere(place) {
    try {
      await this.load(place, SEEK_PIECES);
    } catch (error) {
      if (!(error instanceof FullError)) throw error;
      await this.media.forget(0, Infinity);
      await this.load(place, SEEK_PIECES);
    }
  }

  /** Load pieces, as far ahead as the browser has room. */
  async loadAhead(place, wall) {
    const ahead = (place.start - wall) / 1000;
    try {
      await this.load(place, this.room < Infinity ? 1 : JOINED);
    } catch (error) {
      if (!(error instanceof FullError)) throw error;
      if (ahead <= 0) return this.loadThere(place);
      this.room = ahead * FULL_SHARE;
    }
  }

  /** The next piece that is to be loaded. */
  missing(wall) {
    const until = wall + Math.min(AHEAD_SECONDS * Math.max(1, this.rate), this.room) * 1000;
    for (const place of this.index.places()) {
      if (place.start >= until) return null;
      const piece = place.file.pieces[place.number];
      if (place.end > wall && !this.media.has(place.file, piece)) return place;
    }
    return null;
  }

  async jump(seek, wall, place) {
    const ends = [...this.index.places()].map(({ end }) => end).filter((end) => end <= place.start);
    const from = Math.max(wall, ...ends);
    if (place.start > from + BREAK_MS) this.reportGap(from, place.start);
    await this.enqueue(seek, () => this.loadThere(place));
    if (seek !== this.seeks) return;
    await this.move(place.start + INSIDE_MS);
    if (this.playing && this.video.paused) await this.video.play(); // it was at its end
  }

  async goToAfter(wall) {
    if (this.index.after > wall) return this.seek(wall);
    if (this.index.newest()) return this.report("waiting");
    this.pause();
    this.reportEnd(wall);
  }
}
