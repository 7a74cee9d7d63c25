// @ts-check
/**
 * Plays recordings of one camera by the wall clock, over files and gaps. `docs/playback.md` describes
 * what it loads.
 *
 * @typedef {{state: "seeking" | "playing" | "paused" | "waiting" | "gap" | "end" | "error" | "muted",
 *   wall: number, rate: number, hasSound: boolean, unheard: string, message?: string, from?: number, to?: number,
 *   cause?: string, mime?: string}} State  `mime`: of files in a gap, which the browser does not play;
 *   `unheard`: the codec of sound that it does not play, while the pictures are shown
 */

import { PieceBuffer, UnreachableError, event, plays } from "./piece_buffer.js";
import { PieceLoader } from "./piece_loader.js";
import { play } from "./play.js";
import { INSIDE_MS, RecordedIndex } from "./recorded_index.js";
import { ShownFrame, frameSeconds } from "./shown_frame.js";
import { Shuttle } from "./shuttle.js";

const BEHIND_SECONDS = 30;
const LONGEST_RATE = 8; // faster, and backwards, key frames are shown
const TICK_MS = 200;
const LATE_MS = 400; // for a seek, before the browser is told that no frames follow
const AHEAD_SECONDS = 1; // of media that plays on without the service
const AGAIN_MS = 1000; // when the service was not reached
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
    this.index = new RecordedIndex(base, fetchJson, plays);
    this.chain = Promise.resolve(); // loads follow each other
    this.waiting = false; // for frames that are not recorded yet
    this.abort = new AbortController();
    this.media = new PieceBuffer(video, this.abort.signal);
    this.loader = new PieceLoader(this.index, this.media);
    this.frame = new ShownFrame(video, this.abort.signal);
    this.shuttle = new Shuttle(video, base, {
      onTile: () => this.report("playing"),
      footage: (wallMs, rate) => this.index.footageFrom(wallMs, rate),
      onEnd: (wallMs) => this.shuttleEnded(wallMs),
      onError: (error) => this.fail(error),
      onUnreachable: (error) => this.report("waiting", { message: error.message }),
    });
    this.timer = setInterval(() => this.tick(), TICK_MS);
  }

  now() {
    return this.shuttle.active ? this.shuttle.wall : this.media.epoch + this.video.currentTime * 1000;
  }

  report(state, more = {}) {
    this.waiting = state === "waiting";
    const { rate, media: { hasSound } } = this;
    const wall = this.now();
    this.onState({ state, wall, rate, hasSound, unheard: this.index.unheardAt(wall), ...more });
  }

  fail(error) {
    if (!this.abort.signal.aborted) this.report("error", { message: String(error?.message || error) });
  }

  /**
   * A file may be removed after its place was read, and the service be away for a moment: then look
   * again, once a second. What is there plays on meanwhile.
   */
  async recover(error, again, moves = false) {
    const seek = this.seeks;
    if (error instanceof UnreachableError) {
      if (!moves) this.report("waiting", { message: error.message });
      setTimeout(() => seek === this.seeks && again(), AGAIN_MS);
    } else if (error?.gone && this.index.forget()) await again();
    else this.fail(error);
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
      const other = this.index.otherWithin(wallMs, wallMs + INSIDE_MS);
      if (other) throw new Error(`This browser does not play ${other}.`);
      if (!place) return this.reportEnd(wallMs);
      if (place.start > wallMs + INSIDE_MS) this.reportGap(wallMs, place.start);
      const wall = Math.min(Math.max(wallMs, place.start + INSIDE_MS), place.end - INSIDE_MS);
      await this.enqueue(seek, async () => {
        if (await this.media.prepare(wall, place.file.mime)) this.applyRate();
        await this.loader.loadThere(place);
      });
      if (seek !== this.seeks) return;
      await this.move(wall);
      if (seek !== this.seeks) return;
      const { paused, ended } = this.video; // it was at its end, or has other media
      if (this.playing && paused && !ended) await this.play();
      else this.report(this.playing ? "playing" : "paused");
    } catch (error) {
      if (seek === this.seeks) await this.recover(error, () => this.seek(wallMs));
    }
  }

  async play() {
    this.playing = true;
    if (this.fast()) return this.startShuttle();
    if (this.shuttle.active || this.video.ended) await this.seek(this.now());
    if (this.video.ended) return; // nothing follows: browsers would begin anew
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

  /** Show a frame so many further on, or back; over a gap, too. */
  async step(frames) {
    this.playing = false;
    this.video.pause();
    const { epoch } = this.media;
    const file = this.index.placeAt(this.now())?.file;
    const seconds = frameSeconds(file);
    const start = file ? (file.start_us / 1000 - epoch) / 1000 : 0;
    const wall = epoch + this.frame.middleOf(frames, seconds, start) * 1000;
    const earlier = frames < 0 && !this.index.holds(wall) ? this.index.lastBefore(wall) : null;
    await this.seek(earlier ? earlier.end - 500 * frameSeconds(earlier.file) : wall);
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

  /** Nothing lies further that way: it stops; at the present it goes on as fast as time does. */
  async shuttleEnded(wallMs) {
    const newest = this.rate > 0 && this.index.newest();
    if (!newest) {
      this.playing = false;
      const last = this.rate > 0 ? await this.index.findBefore(wallMs) : null;
      await this.seek(last === null ? wallMs : last - INSIDE_MS);
      return this.reportEnd(this.now());
    }
    this.rate = 1;
    this.applyRate();
    await this.seek(newest.end - INSIDE_MS);
  }

  reportGap(from, to) {
    const [known, mime] = [this.index.gapWithin(from, to), this.index.otherWithin(from, to)];
    const why = mime ? `${mime} is not played here` : known ? `missing (${known.cause})` : "not recorded";
    const [begin, end] = [from, to].map((each) => new Date(each).toLocaleTimeString());
    this.report("gap", { from, to, mime, cause: known?.cause, message: `${begin} to ${end}: ${why}` });
  }

  reportEnd(wall) {
    const other = this.rate > 0 && this.index.otherWithin(wall, Infinity);
    const message = other
      ? `This browser does not play what follows (${other}).`
      : `Nothing was recorded ${this.rate < 0 ? "earlier" : "later"}.`;
    this.report("end", { wall, message });
  }

  // --- loading

  /** Do one thing after the other, unless another seek has come. */
  enqueue(seek, work) {
    const done = this.chain.then(() => (seek === this.seeks ? work() : undefined));
    this.chain = done.catch(() => {});
    return done;
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
      .catch((error) => seek === this.seeks && this.recover(error, () => {}, this.media.secondsLeft() > AHEAD_SECONDS))
      .finally(() => (this.busy = false));
  }

  /** Load what comes next; where something is missing, go on behind it. */
  async goOn(seek) {
    await this.index.read(this.now());
    if (seek !== this.seeks) return;
    const wall = this.now();
    const stalled = wall === this.before && (this.video.ended || !this.video.paused);
    if (this.waiting && wall !== this.before) this.report("playing");
    this.before = wall;
    const missing = this.loader.missing(wall, this.rate);
    if (missing) {
      await this.enqueue(seek, () => this.loader.loadAhead(missing, wall));
      return seek === this.seeks ? this.goOnPlaying() : undefined;
    }
    const speed = Math.max(1, this.rate);
    const here = this.index.placeAt(wall + (stalled ? this.media.stallMs(speed, this.index.restMs(wall)) : 2 * INSIDE_MS));
    if (!here) return this.goToAfter(wall);
    const behind = here.start > wall + 2 * INSIDE_MS || !this.media.fits(here.file.mime);
    if (behind && (stalled || !this.media.holds(wall))) return this.jump(seek, wall, here);
    await this.enqueue(seek, () => this.media.forgetBehind(BEHIND_SECONDS));
  }

  async jump(seek, wall, place) {
    const ends = [...this.index.places()].map(({ end }) => end).filter((end) => end <= place.start);
    const from = ends.length ? Math.max(...ends) : wall; // a fast clock has run further
    if (place.start > from + BREAK_MS) this.reportGap(from, place.start);
    if (!this.media.fits(place.file.mime)) return this.seek(place.start + INSIDE_MS);
    await this.enqueue(seek, () => this.loader.loadThere(place));
    if (seek !== this.seeks) return;
    await this.move(place.start + INSIDE_MS);
    await this.goOnPlaying();
  }

  /** A video at its end is paused; more has come. Without the seek, Chromium begins anew. */
  async goOnPlaying() {
    if (!this.playing || !this.video.paused) return;
    if (this.video.ended) this.video.currentTime = this.video.currentTime;
    await this.video.play();
  }

  /** It has reached the present, which does not come any faster. */
  waitForMore() {
    this.rate = Math.min(this.rate, 1);
    this.applyRate();
    this.report("waiting");
  }

  async goToAfter(wall) {
    if (this.index.after > wall) return this.seek(wall);
    if (this.index.newest()) return this.waitForMore();
    this.pause();
    this.reportEnd(wall);
  }
}
