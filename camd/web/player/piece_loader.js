// @ts-check
/** Loads the pieces that the picture needs, as far ahead as the browser has room for them. */

import { FullError } from "./piece_buffer.js";

const AHEAD_SECONDS = 20; // of media, at normal speed
const FULL_SHARE = 0.75; // of what was there when there was no room for more; then it is tried again
const SEEK_PIECES = 2; // browsers end a seek only with some frames behind it
const JOINED = 4; // pieces in one request

/** @typedef {import("./recorded_index.js").Place} Place */

export class PieceLoader {
  /**
   * @param {import("./recorded_index.js").RecordedIndex} index
   * @param {import("./piece_buffer.js").PieceBuffer} media
   */
  constructor(index, media) {
    this.index = index;
    this.media = media;
    this.room = Infinity; // seconds of media that the browser has room for
  }

  /** The next piece that is to be loaded, and can be. @returns {Place | null} */
  missing(wall, rate) {
    const until = wall + Math.min(AHEAD_SECONDS * Math.max(1, rate), this.room) * 1000;
    for (const place of this.index.places()) {
      if (place.start >= until) return null;
      const piece = place.file.pieces[place.number];
      if (place.end <= wall || this.media.has(place.file, piece)) continue;
      return this.media.fits(place.file.mime) ? place : null;
    }
    return null;
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
      if (current && !this.media.fits(current.file.mime)) return;
    }
  }
}
