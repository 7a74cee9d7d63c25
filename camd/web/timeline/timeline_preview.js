/** A small picture of the instant under the mouse. */

import { html, useEffect, useState } from '../lib/preact.js';
import { localTime } from '../lib/format.js';
import { aimed, AIM_PIXELS, instant } from './timeline_scale.js';

const HOVER_MS = 250; // the mouse has to stay that long
const WIDTH = 160;
const SPAN_MS = 20; // the picture is that of its middle: still of the instant, also at the end of a recording

/**
 * @param {{rows: {current: HTMLElement}, range: any, timelines: Record<string, any>}} props
 */
export function Preview({ rows, range, timelines }) {
  const [shown, show] = useState(null);
  const [failed, fail] = useState(false);
  useEffect(() => {
    let timer;
    const moved = (event) => {
      clearTimeout(timer);
      show(null);
      const lane = event.target.closest?.('[data-camera]');
      if (event.pointerType !== 'mouse' || event.buttons || !lane) return;
      const { camera } = lane.dataset;
      const { left, width } = rows.current.getBoundingClientRect();
      const spans = timelines[camera]?.spans.filter((span) => span.playable) ?? [];
      const at = aimed(spans, instant(range, (event.clientX - left) / width), (AIM_PIXELS * (range.to - range.from)) / width);
      const recorded = spans.some((span) => span.from <= at && (at < span.to || span.growing));
      if (recorded) timer = setTimeout(() => { fail(false); show({ camera, at, x: event.clientX, y: lane.getBoundingClientRect().top }); }, HOVER_MS);
    };
    const left = () => { clearTimeout(timer); show(null); };
    const element = rows.current;
    element.addEventListener('pointermove', moved);
    element.addEventListener('pointerleave', left);
    element.addEventListener('pointerdown', left);
    return () => {
      clearTimeout(timer);
      element.removeEventListener('pointermove', moved);
      element.removeEventListener('pointerleave', left);
      element.removeEventListener('pointerdown', left);
    };
  }, [range, timelines]);
  if (!shown || failed) return null;
  const left = Math.min(window.innerWidth - WIDTH - 16, Math.max(8, shown.x - WIDTH / 2));
  const place = { left: `${left}px`, bottom: `${window.innerHeight - shown.y + 4}px` };
  return html`
    <figure class="preview" style=${place} aria-hidden="true">
      <img src=${address(shown)} alt="" onError=${() => fail(true)} />
      <figcaption class="number">${localTime(new Date(shown.at))}</figcaption>
    </figure>`;
}

function address({ camera, at }) {
  const times = new URLSearchParams({ from: new Date(at).toISOString(), to: new Date(at + SPAN_MS).toISOString(), count: '1', width: String(WIDTH) });
  return `/play/${encodeURIComponent(camera)}/strip.jpg?${times}`;
}
