/** The rows of the timeline: the ruler, a lane a camera, and what the patterns mean. */

import { html } from '../lib/preact.js';
import { count, dayName, duration, hourAndMinute, localTime, timeOfDay } from '../lib/format.js';
import { gapCause, gapPattern } from '../lib/words.js';
import { Name } from '../views/parts.js';
import { days, gapBoxes, HOUR, joined, marks, percent } from './timeline_scale.js';

const MOST_IN_LEGEND = 8;
const NARROWEST = 3; // pixels of a gap, as in the styles

/** The marks of a window; above them its days, as far as each is in it. @param {{range: import('./timeline_scale.js').Range}} props */
export function Ruler({ range }) {
  const most = Math.max(3, Math.min(10, Math.floor(window.innerWidth / 95)));
  const { step, found } = marks(range, most);
  const text = step >= 24 * HOUR ? dayName : step < 60000 ? timeOfDay : hourAndMinute;
  return html`
    ${step < 24 * HOUR && html`
      <div class="ruler days" aria-hidden="true">
        ${days(range).map(({ from, to }) => html`<b key=${from} style=${box(range, from, to)}>${dayName(new Date(from))}</b>`)}
      </div>`}
    <div class="ruler" aria-hidden="true">
      ${found.map((at) => html`<span key=${at} style=${{ left: `${percent(range, at)}%` }}>${text(new Date(at))}</span>`)}
    </div>`;
}

const within = (range) => ({ from, to }) => to > range.from && from < range.to;

const box = (range, from, to) => ({
  left: `${percent(range, Math.max(from, range.from))}%`,
  width: `${percent(range, Math.min(to, range.to)) - percent(range, Math.max(from, range.from))}%`,
});

/** A span that grows reaches to now, where its camera still records. */
const ending = (camera, now) => (span) => (span.growing && camera.recording ? { ...span, to: Math.max(span.to, now) } : span);

/** @param {{camera: any, current: boolean, range: any, now: number, timeline: any, searching: boolean}} props */
export function Lane({ camera, current, range, now, timeline, searching }) {
  const spans = (timeline?.spans ?? []).map(ending(camera, now)).filter(within(range));
  const gaps = (timeline?.gaps ?? []).filter(within(range));
  const pixel = (range.to - range.from) / window.innerWidth;
  const loaded = timeline && timeline.loaded.from <= range.from && range.to <= timeline.loaded.to;
  const words = loaded ? summary(spans, gaps, range, searching) : 'loading…';
  return html`
    <div class="lane" data-camera=${camera.camera_id} role="group" aria-label="${camera.name}: ${words}" aria-current=${current ? 'true' : undefined}>
      <b>${current ? '▸ ' : ''}<${Name}>${camera.name}<//> <span class="quiet">${words}</span></b>
      <div class="track" aria-hidden="true">
        ${joined(spans, pixel).map((span) => html`
          <i key=${span.from} class="span ${span.playable ? '' : 'unplayable'}" style=${box(range, span.from, span.to)}></i>`)}
        ${gapBoxes(gaps, NARROWEST * pixel, gapPattern).map((gap, index) => html`
          <i key=${`gap ${gap.from} ${index}`} class="gap p-${gap.pattern} ${gap.part ? 'part' : ''}" style=${box(range, gap.from, gap.to)}
            title="${gap.merged > 1 ? `${count(gap.merged, 'gap')}, the first: ` : ''}${gapCause(gap.cause)}, ${gap.joined ? 'at most ' : ''}${duration(gap.missing / 1000)} from ${localTime(new Date(gap.from))}"></i>`)}
        ${now < range.to && html`<i class="future" style=${box(range, now, range.to)}></i>`}
      </div>
    </div>`;
}

/** How much of a window is recorded, in words: the most it can be, where the service has joined what is too short to be seen. */
function summary(spans, gaps, range, searching) {
  if (!spans.length && !gaps.length) return searching ? 'nothing found here yet' : 'nothing recorded here';
  const length = (parts) => {
    const seconds = parts.reduce((sum, { from, to }) => sum + Math.min(to, range.to) - Math.max(from, range.from), 0) / 1000;
    return `${parts.some(({ merged }) => merged > 1) ? 'at most ' : ''}${duration(seconds)}`;
  };
  const lost = gaps.reduce((sum, { merged }) => sum + merged, 0);
  return `${length(spans)} recorded, ${lost ? `${count(lost, 'gap')} (${length(gaps)})` : 'no gaps'}`;
}

/** What the patterns of this window mean. @param {{timelines: Record<string, any>, range: any}} props */
export function Legend({ timelines, range }) {
  const gaps = Object.values(timelines).flatMap((each) => each.gaps.filter(within(range)));
  const causes = [...new Set(gaps.map((gap) => gap.cause))].slice(0, MOST_IN_LEGEND);
  return html`
    <ul class="legend" aria-label="Legend">
      <li><i class="swatch span" aria-hidden="true"></i> recorded</li>
      <li><i class="swatch none" aria-hidden="true"></i> not recorded</li>
      ${causes.map((cause) => html`<li key=${cause}><i class="swatch p-${gapPattern(cause)}" aria-hidden="true"></i> gap: ${gapCause(cause)}</li>`)}
    </ul>`;
}
