// @ts-check
/**
 * What was recorded around an instant: files with their pieces, and what is missing.
 *
 * @typedef {import("./piece_buffer.js").File} File
 * @typedef {{from: string, to: string, cause: string}} Gap
 * @typedef {{since: number, until: number, read: number, complete: boolean, files: File[],
 *   others: File[], gaps: Gap[], before: string | null, after: string | null}} Index  `read`: when it
 *   was read, as `performance.now`; `complete`: nothing can come into it any more; `others`: files
 *   that the browser does not play
 * @typedef {{file: File, number: number, start: number, end: number}} Place  start, end: wall, ms
 */

import { reached } from "./piece_buffer.js";

const WINDOW_MS = [60_000, 600_000]; // before and behind an instant
const GROWING_MS = 1000; // between two looks at a file that grows
export const INSIDE_MS = 1; // browsers round times

export class RecordedIndex {
  /**
   * @param {string} base  `/play/{camera}`
   * @param {(path: string) => Promise<any>} fetchJson
   * @param {(mime: string) => boolean} plays  whether the browser does
   */
  constructor(base, fetchJson, plays) {
    this.base = base;
    this.fetchJson = fetchJson;
    this.plays = plays;
    /** @type {Index | null} */ this.known = null;
  }

  /** @returns {Promise<Place | null>} the piece of an instant, or the first one behind it */
  async find(wallMs) {
    await this.read(wallMs);
    let found = this.placeAt(wallMs);
    if (!found && this.mayGrow) {
      await this.read(wallMs, true);
      found = this.placeAt(wallMs);
    }
    const { after } = this;
    if (!found && after > wallMs) {
      await this.read(after + INSIDE_MS);
      return this.placeAt(after);
    }
    return found || this.newest();
  }

  /** Where footage goes on from an instant, forwards or backwards; null: nowhere. */
  async footageFrom(wallMs, rate) {
    if (rate < 0) return this.findBefore(wallMs);
    const place = await this.find(wallMs);
    return place && place.end > wallMs ? Math.max(place.start, wallMs) : null;
  }

  /** Read everything anew the next time; false when it was read a moment ago. */
  forget() {
    const old = this.known !== null && performance.now() - this.known.read > GROWING_MS;
    if (old) this.known = null;
    return old;
  }

  /** Where the next footage behind what is known begins, in ms; NaN without any. */
  get after() {
    return this.known?.after ? Date.parse(this.known.after) : NaN;
  }

  /** Whether more footage may come to what is known: a session runs, whether a file grows or not. */
  get mayGrow() {
    return this.known !== null && !this.known.complete;
  }

  /** @returns {Place | null} the newest piece, where more may come behind it */
  newest() {
    return this.mayGrow ? ([...this.places()].at(-1) ?? null) : null;
  }

  /** @returns {Generator<Place>} all pieces, in order */
  *places() {
    for (const file of this.known?.files || []) {
      for (const [number, piece] of file.pieces.entries()) {
        const start = file.start_us / 1000 + piece.time * 1000;
        yield { file, number, start, end: start + piece.duration * 1000 };
      }
    }
  }

  /** @returns {Place | null} the piece of an instant, or the first one behind it */
  placeAt(wallMs) {
    let found = null;
    for (const place of this.places()) {
      if (place.start <= wallMs && wallMs < place.end) found = place; // the later file counts
      else if (place.start > wallMs) return found || place;
    }
    return found;
  }

  /** Milliseconds from an instant to the end of its piece; 0: there is no footage of it. */
  restMs(wallMs) {
    const place = this.placeAt(wallMs);
    return place && place.start <= wallMs ? place.end - wallMs : 0;
  }

  /** Whether there is footage of an instant. */
  holds(wallMs) {
    const place = this.placeAt(wallMs);
    return place !== null && place.start <= wallMs;
  }

  /** @returns {Place | null} the last piece that is over before an instant, of what is known */
  lastBefore(wallMs) {
    return [...this.places()].filter(({ end }) => end <= wallMs + INSIDE_MS).at(-1) ?? null;
  }

  /** @returns {Promise<number | null>} where footage before an instant ends; null: there is none */
  async findBefore(wallMs) {
    await this.read(wallMs);
    const found = [...this.places()].filter(({ start }) => start < wallMs).at(-1);
    if (found) return Math.min(found.end, wallMs);
    return this.known?.before ? Date.parse(this.known.before) : null;
  }

  /** @returns {string | undefined} the type of a file between two instants that cannot be played */
  otherWithin(from, to) {
    const within = (file) => file.start_us / 1000 < to && file.start_us / 1000 + file.duration * 1000 > from;
    return this.known?.others.find(within)?.mime;
  }

  /** @returns {Gap | undefined} an entry of the gap ledger between two instants */
  gapWithin(from, to) {
    const within = (gap) => Date.parse(gap.to) > from && Date.parse(gap.from) < to;
    return this.known?.gaps.find(within);
  }

  /** Read what is around an instant, unless it is known. */
  async read(wallMs, anew = false) {
    const { known } = this;
    const grows = known && (!known.files.length || this.mayGrow);
    const old = anew || (grows && performance.now() - known.read > GROWING_MS);
    if (known && !old && wallMs >= known.since && wallMs + WINDOW_MS[0] / 2 < known.until) return;
    const [since, until] = [wallMs - WINDOW_MS[0], wallMs + WINDOW_MS[1]];
    const times = [since, until].map((each) => encodeURIComponent(new Date(each).toISOString()));
    const index = await reached(this.fetchJson(`${this.base}/index.json?from=${times[0]}&to=${times[1]}`));
    const listed = index.files.map((file) => this.withoutSound(file));
    const files = listed.filter((file) => this.plays(file.mime));
    const others = listed.filter((file) => !files.includes(file));
    this.known = { ...index, files, others, since, until, read: performance.now() };
  }

  /** @returns {string} the codec of sound at an instant that the browser does not play; "" if it does */
  unheardAt(wallMs) {
    const place = this.placeAt(wallMs);
    return (place && place.start <= wallMs && place.file.unheard) || "";
  }

  /** Leave out the sound of a file where the browser plays the pictures alone. */
  withoutSound(file) {
    if (!file.muted || this.plays(file.mime) || !this.plays(file.muted.mime)) return file;
    return { ...file, mime: file.muted.mime, unheard: file.codecs.split(",").at(-1) };
  }
}
