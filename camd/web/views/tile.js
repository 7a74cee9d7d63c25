/** One camera: picture, state in words, and what can be done with it. */

import { html, useState } from '../lib/preact.js';
import { count, counter, duration } from '../lib/format.js';
import { useAction, useNow } from '../lib/hooks.js';
import { cameraState, inTrouble, scheduleWords } from '../lib/words.js';
import { Failure, Name, When } from './parts.js';
import { Picture } from '../player/picture.js';

const TIMERS = [['', 'Until stopped'], ['60', '1 minute'], ['600', '10 minutes'], ['3600', '1 hour'], ['28800', '8 hours'], ['86400', '24 hours']];

/** How much of the footage before the start a recording can begin with. @param {number} kept seconds */
const beforeStart = (kept) => [
  ['', `From ${duration(kept)} ago`],
  ...[120, 60, 30, 10, 5].filter((seconds) => seconds < kept).map((seconds) => [String(seconds), `From ${duration(seconds)} ago`]),
  ['0', 'From now'],
];

/** @param {{store: any, camera: Record<string, any>, number: number, asVideo: boolean, chosen: boolean, onChoose: () => void}} props */
export function Tile({ store, camera, number, asVideo, chosen, onChoose }) {
  const trouble = inTrouble(camera);
  return html`
    <article class="tile" tabindex=${chosen ? 0 : -1} aria-label="${camera.name}: ${cameraState(camera)}" onfocusin=${onChoose}>
      <header>
        <h2><${Name}>${camera.name}<//></h2>
        <span class="chip ${trouble ? 'trouble' : ''}">
          ${camera.recording && html`<i class="dot ${camera.recording_healthy ? 'moving' : ''}"></i>`}${cameraState(camera)}
        </span>
      </header>
      <${Picture} store=${store} camera=${camera} asVideo=${asVideo} />
      <footer>
        <${Since} camera=${camera} number=${number} />
        <${Actions} store=${store} camera=${camera} />
      </footer>
    </article>`;
}

function Since({ camera, number }) {
  const now = useNow(Boolean(camera.recording && camera.since));
  const size = [camera.resolution?.replace('x', ' × '), camera.fps ? `${camera.fps} pictures a second` : null].filter(Boolean).join(', ');
  return html`
    <p class="since quiet number">
      ${camera.recording && camera.since
        ? html`Recording since <${When} at=${camera.since} /> · ${counter((now - camera.since) / 1000)}`
        : html`${size || camera.camera_id}${number < 10 && html`<span class="for-keys"> · key <kbd>${number}</kbd></span>`}`}
    </p>
    ${camera.schedule && html`<p class="quiet">${scheduleWords(camera.schedule)}</p>`}`;
}

function Actions({ store, camera }) {
  const [seconds, setSeconds] = useState('');
  const [before, setBefore] = useState('');
  const [busy, failure, run] = useAction();
  const [said, say] = useState(null);
  const device = camera.camera_id;
  const timeline = html`<a class="button" href="#timeline/${encodeURIComponent(device)}">Timeline</a>`;

  const start = () => run(async () => {
    const started = await store.call('start_recording', {
      device,
      ...(seconds ? { duration: Number(seconds) } : {}),
      ...(camera.preroll > 0 && before ? { preroll: Number(before) } : {}),
    });
    const early = started.preroll_achieved >= 0.5 ? `The recording begins ${duration(started.preroll_achieved)} before the start.` : null;
    say(started.warnings[0] ?? early);
  });
  const stop = () => run(async () => {
    const { receipt } = await store.call('stop_recording', { device });
    const gaps = receipt.gaps.length;
    say(`Stopped: ${count(receipt.frames_written, 'frame')} on disk, ${gaps ? count(gaps, 'gap') : 'no gaps'}.`);
  });
  const snapshot = () => run(async () => {
    const taken = await store.call('take_snapshot', { device });
    say(html`Snapshot: <a href=${taken.download_url} download>${taken.filename}</a>`);
  });
  return html`
    ${store.may('control') && html`
      <div class="row middle">
        ${camera.recording
          ? html`<button class="danger" data-key="r" disabled=${busy} onClick=${stop}><i class="dot square" aria-hidden="true"></i>Stop</button>`
          : html`
            <button class="main" data-key="r" disabled=${busy} onClick=${start}>${busy ? 'Working…' : 'Record'}</button>
            <select aria-label="How long ${camera.name} records" value=${seconds} onChange=${(event) => setSeconds(event.target.value)}>
              ${TIMERS.map(([value, text]) => html`<option key=${value} value=${value}>${text}</option>`)}
            </select>
            ${camera.preroll > 0 && html`
              <select aria-label="Where the recording of ${camera.name} begins" value=${before} onChange=${(event) => setBefore(event.target.value)}>
                ${beforeStart(camera.preroll).map(([value, text]) => html`<option key=${value} value=${value}>${text}</option>`)}
              </select>`}`}
        <button data-key="s" disabled=${busy} onClick=${snapshot}>Snapshot</button>
        ${timeline}
      </div>`}
    ${!store.may('control') && html`<div class="row middle">${timeline}</div>`}
    <${Failure} text=${failure} />
    <p role="status" class="quiet">${said}</p>`;
}
