/** Times, durations, sizes and rates as people read them; and what they type, as an instant. */

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];
const ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone;

const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' });
const shortClock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
const day = new Intl.DateTimeFormat(undefined, { weekday: 'short', day: 'numeric', month: 'short' });
const fullDay = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short', year: 'numeric' });
const zoneName = new Intl.DateTimeFormat(undefined, { timeZoneName: 'short' });

/** The zone in which all times are shown, such as "CET (Europe/Berlin)". */
export function zone(when = new Date()) {
  const name = zoneOf(when);
  return name && name !== ZONE ? `${name} (${ZONE})` : ZONE;
}

/** @param {Date} when */
export const timeOfDay = (when) => clock.format(when);
/** @param {Date} when */
export const hourAndMinute = (when) => shortClock.format(when);
/** A day, and its year where that is another one. @param {Date} when */
export const dayName = (when, now = new Date()) => (when.getFullYear() === now.getFullYear() ? day : fullDay).format(when);

/**
 * The other instant with the same local time, in the hour that comes twice when clocks are set back;
 * null: there is none. @param {Date} when
 */
export function twin(when) {
  const offset = when.getTimezoneOffset();
  for (const hours of [-3, 3]) {
    const other = new Date(when.getTime() + hours * 3600000).getTimezoneOffset();
    const found = new Date(when.getTime() + (other - offset) * 60000);
    if (other !== offset && found.getTimezoneOffset() === other) return found;
  }
  return null;
}

/** The name of the zone, as it is in force at an instant, such as "CEST". @param {Date} when */
export const zoneOf = (when) => zoneName.formatToParts(when).find((each) => each.type === 'timeZoneName')?.value ?? '';

/**
 * Local date and time; the date is left out where it is today's. Of two instants with the same local
 * time each has its zone. @param {Date} when
 */
export function localTime(when, now = new Date()) {
  const today = when.toDateString() === now.toDateString();
  const time = twin(when) ? `${timeOfDay(when)} ${zoneOf(when)}` : timeOfDay(when);
  return today ? time : `${fullDay.format(when)}, ${time}`;
}

/** Local time without seconds; with the day where that is not today, and the year where it is another. @param {Date} when */
export function dayAndMinute(when, now = new Date()) {
  if (when.toDateString() === now.toDateString()) return hourAndMinute(when);
  return `${dayName(when, now)}, ${hourAndMinute(when)}`;
}

/** @param {Date} when */
export const utc = (when) => `${when.toISOString().replace('T', ' ').replace(/\.\d+Z$/, '')} UTC`;

/** "2 h 5 min", "3 min 20 s", "4.2 s". @param {number|null} seconds */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return '–';
  if (seconds < 10) return `${Number(seconds.toFixed(1))} s`;
  const whole = Math.round(seconds);
  const parts = [
    [Math.floor(whole / 86400), 'd'], [Math.floor(whole / 3600) % 24, 'h'],
    [Math.floor(whole / 60) % 60, 'min'], [whole % 60, 's'],
  ];
  const first = parts.findIndex(([count]) => count > 0);
  return parts.slice(first, first + 2).filter(([count]) => count > 0)
    .map(([count, unit]) => `${count} ${unit}`).join(' ');
}

/** "1:02:03" for what runs. @param {number} seconds */
export function counter(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (value) => String(value).padStart(2, '0');
  return `${Math.floor(whole / 3600)}:${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}`;
}

/** "1.2 GB". @param {number|null|undefined} bytes */
export function size(bytes) {
  if (bytes === null || bytes === undefined) return '–';
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit && value < 100 ? value.toFixed(1) : Math.round(value)} ${UNITS[unit]}`;
}

/** A name within other text: letters that are written from the right leave what is around it in its order. @param {string} name */
export const isolated = (name) => `\u2068${name}\u2069`;

/** "12 files", "1 file". @param {number} count @param {string} one */
export const count = (number, one, many = `${one}s`) => `${number.toLocaleString()} ${number === 1 ? one : many}`;

/** The value of a `datetime-local` field. @param {Date} when */
export function fieldValue(when) {
  const local = new Date(when.getTime() - when.getTimezoneOffset() * 60000);
  return local.toISOString().slice(0, 19);
}

/** The instant of a `datetime-local` field; null when it is empty. @param {string} text */
export function fieldTime(text) {
  const when = new Date(text);
  return text === '' || Number.isNaN(when.getTime()) ? null : when;
}
