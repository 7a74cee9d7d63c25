/** The timeline: a row a camera, playback of one of them, and a range to take out or to keep. */

import { html, useEffect, useRef, useState } from '../lib/preact.js';
import { dayAndMinute, duration, zone } from '../lib/format.js';
import { useKeys, useNow } from '../lib/hooks.js';
import { loadTimeline } from '../lib/timeline_data.js';
import { Failure, InstantField, Searching } from '../views/parts.js';
import { Lane, Legend, Ruler } from './timeline_rows.js';
import { Player } from './timeline_player.js';
import { Preview } from './timeline_preview.js';
import { RangeActions } from './timeline_range.js';
import { aimed, AIM_PIXELS, between, centred, holds, HOUR, instant, isAhead, known, LONGEST, moved, percent, SHORTEST, zoomed } from './timeline_scale.js';
import { useGestures } from './timeline_gestures.js';

const LENGTHS = [[HOUR, '1 hour'], [6 * HOUR, '6 hours'], [24 * HOUR, '1 day'], [7 * 24 * HOUR, '1 week'], [LONGEST, '1 month']];
const RELOAD_MS = 200; // after the last move, so that a wheel asks once

/** Spans and gaps of all cameras for a window, loaded again when it moves or a file begins or ends. */
function useTimelines(store, range) {
  const [found, setFound] = useState({});
  const [failure, setFailure] = useState(null);
  const ids = [...store.cameras.keys()].join(' ');
  const connected = store.connection === 'open';
  useEffect(() => {
    if (!connected) return undefined;
    let current = true;
    const timer = setTimeout(async () => {
      const wide = { from: moved(range, -0.5).from, to: moved(range, 0.5).to };
      try {
        const loaded = await Promise.all([...store.cameras.keys()].map(async (id) => [id, { ...await loadTimeline(store, id, wide), loaded: wide }]));
        if (current) {
          setFound(Object.fromEntries(loaded));
          setFailure(null);
        }
      } catch (error) {
        if (current) setFailure(error.text ?? error.message);
      }
    }, RELOAD_MS);
    return () => {
      current = false;
      clearTimeout(timer);
    };
  }, [range.from, range.to, ids, connected, store.changedRecordings]);
  return [found, failure];
}

/** @param {{store: any, rest: string[]}} props */
export function Timeline({ store, rest }) {
  const [asked, askedAt] = rest;
  const cameras = [...store.cameras.values()];
  const camera = store.cameras.get(asked) ?? cameras[0];
  const start = known(Date.parse(askedAt ?? ''));
  const [range, setRange] = useState(() => (start !== null ? centred({ from: 0, to: HOUR }, start) : { from: Date.now() - 0.9 * HOUR, to: Date.now() + 0.1 * HOUR }));
  const [at, setAt] = useState(start);
  const [chosen, setChosen] = useState(null);
  const [position, setPosition] = useState(null); // of the player, while it plays
  const now = useNow(true, 1000);
  const [timelines, failure] = useTimelines(store, range);
  const rows = useRef(null);
  const player = useRef(null);
  const cursor = position ?? at;
  const shownAt = cursor ?? now;
  const spans = timelines[camera?.camera_id]?.spans;

  const choose = (id) => { location.hash = `timeline/${encodeURIComponent(id)}`; };
  const seek = (when, id) => {
    if (id && id !== camera.camera_id) choose(id);
    setPosition(null);
    setAt(when);
  };
  const live = () => {
    setPosition(null);
    setAt(null);
    setRange({ from: Date.now() - 0.9 * (range.to - range.from), to: Date.now() + 0.1 * (range.to - range.from) });
  };
  const goTo = (when) => {
    if (known(when) === null) return;
    seek(when);
    setRange(centred(range, when));
  };
  const skip = (from, ms) => (ms > 0 && isAhead(from + ms, Date.now(), spans) ? live() : seek(from + ms));
  useEffect(() => {
    if (start !== null) {
      seek(start);
      if (!holds(range, start)) setRange(centred(range, start));
    } else if (askedAt) live(); // of no use
  }, [askedAt]);
  const before = useRef(shownAt);
  useEffect(() => { // what is shown stays in the window, as long as nobody moves that elsewhere
    if (holds(range, before.current) && !holds(range, shownAt)) setRange(centred(range, shownAt));
    before.current = shownAt;
  }, [shownAt]);
  const reach = () => (AIM_PIXELS * (range.to - range.from)) / rows.current.clientWidth;
  const point = (when, id = camera.camera_id) => seek(aimed(timelines[id]?.spans, when, reach()), id);
  useGestures(rows, { range, setRange, seek: point, choose: (from, to) => setChosen(from === null ? null : between(from, to)) });
  useKeys((key) => {
    const keys = {
      ArrowLeft: () => skip(shownAt, -5000),
      ArrowRight: () => skip(shownAt, 5000),
      ArrowUp: () => setRange(zoomed(range, 0.6, shownAt)),
      ArrowDown: () => setRange(zoomed(range, 1 / 0.6, shownAt)),
      '+': () => setRange(zoomed(range, 0.6, shownAt)),
      '-': () => setRange(zoomed(range, 1 / 0.6, shownAt)),
      PageUp: () => setRange(moved(range, -0.8)),
      PageDown: () => setRange(moved(range, 0.8)),
      l: live,
      ...Object.fromEntries(['m', 'f'].map((each) => [each, () => document.querySelector(`.player [data-key="${each}"]`)?.click()])),
      ' ': () => player.current?.toggle(),
      ',': () => player.current?.step(-1),
      '.': () => player.current?.step(1),
    };
    if (key === 'Escape' && chosen) setChosen(null);
    else if (/^[1-9]$/.test(key) && cameras[Number(key) - 1]) choose(cameras[Number(key) - 1].camera_id);
    else if (keys[key]) keys[key]();
    else return false;
    return true;
  });

  if (!camera) return html`<p class="plain">There is no camera yet, so nothing is recorded.</p>`;
  const shownLength = LENGTHS.find(([length]) => Math.abs(length - (range.to - range.from)) < 1000)?.[0] ?? '';
  return html`
    <div class="stack">
      <${Player} store=${store} camera=${camera} at=${at} ahead=${at !== null && isAhead(at, Date.now(), spans)}
        handle=${player} onPosition=${setPosition} onSkip=${skip} onLive=${live} />
      <${Failure} text=${failure} />
      <${Searching} store=${store} />
      <div class="rows card" ref=${rows} tabindex="0" role="group" aria-label="Timeline, ${duration((range.to - range.from) / 1000)}. It begins ${dayAndMinute(new Date(range.from))}. Arrows move and zoom; drag to choose a range.">
        <${Ruler} range=${range} />
        ${cameras.map((each) => html`
          <${Lane} key=${each.camera_id} camera=${each} current=${each === camera} range=${range} now=${now} timeline=${timelines[each.camera_id]} searching=${store.searching} />`)}
        <${Preview} rows=${rows} range=${range} timelines=${timelines} />
        ${cursor !== null && html`<i class="cursor" style=${{ left: `${percent(range, cursor)}%` }}></i>`}
        <i class="cursor now" style=${{ left: `${percent(range, now)}%` }}></i>
        ${chosen && html`<i class="chosen" style=${{ left: `${percent(range, chosen.from)}%`, width: `${percent(range, chosen.to) - percent(range, chosen.from)}%` }}></i>`}
      </div>
      <${Legend} timelines=${timelines} range=${range} />
      <div class="row">
        <label>Window
          <select value=${shownLength} onChange=${(event) => setRange(zoomed(range, Number(event.target.value) / (range.to - range.from), shownAt))}>
            ${shownLength === '' && html`<option value="">${duration((range.to - range.from) / 1000)}</option>`}
            ${LENGTHS.map(([length, text]) => html`<option key=${length} value=${length}>${text}</option>`)}
          </select>
        </label>
        <button aria-label="Earlier" onClick=${() => setRange(moved(range, -0.5))}>‹ Earlier</button>
        <button aria-label="Later" onClick=${() => setRange(moved(range, 0.5))}>Later ›</button>
        <button aria-label="Zoom in" disabled=${range.to - range.from <= SHORTEST} onClick=${() => setRange(zoomed(range, 0.5, shownAt))}>+</button>
        <button aria-label="Zoom out" disabled=${range.to - range.from >= LONGEST} onClick=${() => setRange(zoomed(range, 2, shownAt))}>−</button>
        <${InstantField} label="Go to" at=${shownAt} onChange=${goTo} />
        <span class="quiet push">Times in ${zone()}</span>
      </div>
      <${RangeActions} store=${store} camera=${camera} spans=${spans} range=${chosen} suggested=${range} onChange=${setChosen} />
    </div>`;
}
