/**
 * The window of time that the timeline shows, and its marks. No DOM, no clock.
 *
 * @typedef {{from: number, to: number}} Range milliseconds since 1970
 */

export const HOUR = 3600000;
const DAY = 24 * HOUR;
export const AIM_PIXELS = 4; // how exactly somebody points
export const SHORTEST = 5 * 60000;
export const LONGEST = 31 * DAY;
const STEPS = [10000, 30000, 60000, 300000, 600000, 1800000, HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY];
const MARKS = 8;

const clamp = (value, least, most) => Math.min(Math.max(value, least), most);

/** Zoom by a factor around an instant that stays where it is. @param {Range} range @returns {Range} */
export function zoomed(range, factor, around) {
  const length = range.to - range.from;
  const wanted = clamp(length * factor, SHORTEST, LONGEST);
  const share = (around - range.from) / length;
  const from = around - share * wanted;
  return { from, to: from + wanted };
}

/** Move by a share of the length. @param {Range} range @returns {Range} */
export function moved(range, share) {
  const by = (range.to - range.from) * share;
  return { from: range.from + by, to: range.to + by };
}

/** The same length around an instant. @param {Range} range @returns {Range} */
export function centred(range, at) {
  const half = (range.to - range.from) / 2;
  return { from: at - half, to: at + half };
}

/** Whether an instant is in the window. @param {Range} range */
export const holds = ({ from, to }, at) => from <= at && at <= to;

/** Where an instant is, in percent of the width. @param {Range} range */
export const percent = (range, at) => ((at - range.from) / (range.to - range.from)) * 100;

/** The instant at a share of the width, from 0 to 1. @param {Range} range */
export const instant = (range, share) => range.from + (range.to - range.from) * share;

/** Instants for the marks of the ruler, at round local times. @param {Range} range */
export function marks(range, most = MARKS) {
  const length = range.to - range.from;
  const step = STEPS.find((each) => length / each <= most) ?? STEPS[STEPS.length - 1];
  return { step, found: [...(step > HOUR ? hourMarks(range, step / HOUR) : evenMarks(range, step))] };
}

function* evenMarks({ from, to }, step) {
  const zone = new Date(from).getTimezoneOffset() * 60000;
  for (let at = Math.ceil((from - zone) / step) * step + zone; at < to; at += step) yield at;
}

/** Days may have 23 or 25 hours: each mark is at its hour by the local clock. */
function* hourMarks({ from, to }, hours) {
  const days = Math.max(1, hours / 24);
  const first = new Date(from);
  const [year, month, day] = [first.getFullYear(), first.getMonth(), first.getDate()];
  const aligned = day - (Math.floor(Date.UTC(year, month, day) / DAY) % days);
  for (let of = aligned; ; of += days)
    for (let hour = 0; hour < 24; hour += hours) {
      const at = new Date(year, month, of, hour).getTime();
      if (at >= to) return;
      if (at >= from) yield at;
    }
}

/** The days of a window by the local clock; the first and the last one as far as they are in it. @param {Range} range */
export function days({ from, to }) {
  const found = [];
  for (let begin = from; begin < to;) {
    const day = new Date(begin);
    const next = new Date(day.getFullYear(), day.getMonth(), day.getDate() + 1).getTime();
    found.push({ from: begin, to: Math.min(next, to) });
    begin = next;
  }
  return found;
}

/**
 * Join spans that lie closer than a pixel, so that a month of files is a few hundred boxes.
 * @param {{from: number, to: number, playable: boolean}[]} spans in order @param {number} pixel its length in ms
 */
export function joined(spans, pixel) {
  const found = [];
  for (const span of spans) {
    const last = found[found.length - 1];
    if (last && last.playable === span.playable && span.from - last.to < pixel) last.to = Math.max(last.to, span.to);
    else found.push({ ...span });
  }
  return found;
}

/**
 * Join gaps that are shown alike and are nearer to each other than the narrowest box: it has to be seen.
 * `part`: footage may lie in the box, too, which must not hide it.
 * @param {{from: number, to: number, cause: string, merged: number}[]} gaps in order of their beginnings
 * @param {number} narrowest in ms @param {(cause: string) => string} pattern by which it is shown
 */
export function gapBoxes(gaps, narrowest, pattern) {
  const found = [];
  for (const gap of gaps) {
    const last = found[found.length - 1];
    const missing = gap.to - gap.from;
    const joined = gap.merged > 1; // by the service
    if (last && last.pattern === pattern(gap.cause) && gap.from - last.to < narrowest) {
      last.to = Math.max(last.to, gap.to);
      last.merged += gap.merged;
      last.missing += missing;
      last.joined ||= joined;
    } else found.push({ ...gap, pattern: pattern(gap.cause), missing, joined });
  }
  return found.map((box) => ({ ...box, part: box.to - box.from < narrowest || box.to - box.from > box.missing || box.joined }));
}

/**
 * What somebody means who points at an instant: recordings may be narrower than a pixel, so the
 * nearest one within reach counts, where none is exactly there.
 * @param {{from: number, to: number, growing: boolean}[]} spans @param {number} reach in ms
 */
export function aimed(spans = [], at, reach) {
  let [found, distance] = [at, reach];
  for (const { from, to, growing } of spans) {
    if (from <= at && (at < to || growing)) return at;
    const far = at < from ? from - at : at - to;
    if (far <= distance) [found, distance] = [at < from ? from : Math.max(from, to - reach), far];
  }
  return found;
}

const EARLIEST = 0; // a clock that nobody has set begins there
const LATEST = Date.UTC(9999, 0);

/** An instant that recordings can have; null: it is none, or years away from all of them. @param {number} at */
export const known = (at) => (at >= EARLIEST && at <= LATEST ? at : null);

/** Whether nothing can be recorded at an instant yet; the clock of the service may be ahead. @param {{to: number}[]} spans */
export const isAhead = (at, now, spans = []) => at > now && spans.every(({ to }) => to <= at);

/** What of two instants is the range between them. @returns {Range} */
export const between = (one, other) => ({ from: Math.min(one, other), to: Math.max(one, other) });
