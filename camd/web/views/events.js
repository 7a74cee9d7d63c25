/** What happened, the newest first. */

import { html, useState } from '../lib/preact.js';
import { isolated } from '../lib/format.js';
import { eventSentence, isBad } from '../lib/words.js';
import { CameraChoice, When, Words } from './parts.js';

const KINDS = [
  ['', 'Everything'], ['bad', 'Problems only'], ['recording', 'Recordings'], ['camera', 'Cameras'], ['storage', 'Storage'],
  ['retention', 'Cleanup'], ['scrub', 'Checks'],
];

const fits = (event, kind, camera) => {
  if (camera && event.params.camera_id !== camera) return false;
  if (kind === 'bad') return isBad(event.method, event.params);
  return event.method.startsWith(kind) || event.method === 'events_missed';
};

/** @param {{store: any}} props */
export function Events({ store }) {
  const [kind, setKind] = useState('');
  const [camera, setCamera] = useState('');
  const shown = store.events.filter((event) => fits(event, kind, camera));
  const name = (id) => store.cameras.get(id)?.name ?? id ?? '';
  return html`
    <div class="stack">
      <div class="row">
        <label>Show
          <select value=${kind} onChange=${(event) => setKind(event.target.value)}>
            ${KINDS.map(([value, text]) => html`<option key=${value} value=${value}>${text}</option>`)}
          </select>
        </label>
        <${CameraChoice} store=${store} value=${camera} onChange=${setCamera} />
      </div>
      ${shown.length === 0 ? html`<p class="card">Nothing happened yet${kind || camera ? ' with this filter' : ''}.</p>` : html`
        <ol class="events card" role="log" aria-label="Events">
          ${shown.map((event) => html`
            <li key=${`${event.seq} ${event.method}`} class=${isBad(event.method, event.params) ? 'bad' : ''}>
              <${When} at=${event.time} />
              <span><${Words} text=${eventSentence(event.method, event.params, isolated(name(event.params.camera_id)))} />
                ${event.params.suggestion && html` <span class="quiet"><${Words} text=${event.params.suggestion} /></span>`}</span>
            </li>`)}
        </ol>`}
    </div>`;
}
