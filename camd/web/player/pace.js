// @ts-check
/**
 * How far live view is behind, and how fast it plays. Knows no element. All times in seconds.
 *
 * Pictures that are shown in another order than they are sent leave gaps that are filled a moment
 * later; some browsers list the ranges around a gap one by one.
 */

const FILLED_GAP = 0.5; // a longer one is not filled any more
const FASTEST = 1.15;
const SLOWEST = 0.8;
const DRIFT = 0.002; // of a camera's clock, at most

/**
 * Return what can be played at a position: from `start` to `playable`; more is there up to `end`.
 *
 * @param {{length: number, start(index: number): number, end(index: number): number}} ranges
 *   at least one, as `TimeRanges`
 * @param {number} position
 */
export function reachOf(ranges, position) {
  const last = ranges.length - 1;
  let first = last;
  while (first > 0 && ranges.start(first) - ranges.end(first - 1) < FILLED_GAP) first--;
  let here = first;
  while (here < last && ranges.end(here) <= position) here++;
  return { start: ranges.start(first), playable: ranges.end(here), end: ranges.end(last) };
}

/**
 * Return the rate that brings the picture to `target` behind what is playable.
 *
 * Slower than real time, it does not stop again and again where the newest picture comes late.
 * Within `slack` the rate is that of real time.
 *
 * @param {number} behind @param {number} target @param {number} slack
 */
export function rateFor(behind, target, slack) {
  const off = behind - target;
  if (off > 0) return off > slack ? Math.min(FASTEST, 1 + off / 2) : 1;
  return Math.max(SLOWEST, 1 + 2 * Math.min(0, off + slack));
}

/** How late the newest frame is: its time is compared with the time that has passed. */
export class Lateness {
  constructor() {
    this.end = this.behind = this.compared = 0;
    this.least = Infinity; // from a frame's time to the present: that of a line that keeps up
    this.grown = NaN; // when something new came
  }

  /** Note up to where media is there. @param {number} end @param {number} now */
  note(end, now) {
    const offset = now - end;
    if (end > this.end) this.grown = now;
    const least = end < this.end ? Infinity : this.least + (now - this.compared) * DRIFT;
    this.least = Math.min(offset, least);
    this.compared = now;
    this.end = end;
    this.behind = offset - this.least;
  }

  /** Seconds for which nothing new has come. @param {number} now */
  waits(now) {
    return Number.isNaN(this.grown) ? 0 : now - this.grown;
  }
}
