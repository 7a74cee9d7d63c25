/** One row of each table, and what can be done with it. */

import { html, useState } from '../lib/preact.js';
import { duration, size } from '../lib/format.js';
import { useAction } from '../lib/hooks.js';
import { gapCause, gapPattern, reasonWords } from '../lib/words.js';
import { Confirm, Failure, Name, When } from './parts.js';
import { FileReceipt, SessionReceipt } from './receipts.js';

const STATES = { recording: 'is being recorded', sealed: 'final', recovered: 'recovered', adopted: 'found in the folder' };

/** A cell that says what it is where the table is narrow. */
export const cell = (label, content, kind = '') => html`<td data-label=${label} class=${kind}><span>${content}</span></td>`;
const name = (store, id) => html`<${Name}>${store.cameras.get(id)?.name ?? id ?? '–'}<//>`;
/** A link to an instant on the timeline. @param {{camera: string, at: string}} props */
const Show = ({ camera, at }) => html`<a class="button" href="#timeline/${encodeURIComponent(camera)}/${encodeURIComponent(at)}">Show</a>`;
const words = (text) => (STATES[text] ?? String(text).replaceAll('_', ' ')).toLowerCase();

/** @param {{store: any, row: Record<string, any>, onChange: () => void}} props */
export function RecordingRow({ store, row, onChange }) {
  const [shown, show] = useState(null);
  const [busy, failure, run] = useAction();
  const act = (method, params = {}) => run(async () => {
    await store.call(method, { filename: row.filename, ...params });
    onChange();
  });
  const grows = row.status === 'recording';
  return html`
    <tr>
      ${cell('Began', html`<${When} at=${row.start_time} />`)}
      ${cell('Camera', name(store, row.camera_id))}
      ${cell('Duration', duration(row.duration))}
      ${cell('Frames', row.frames?.toLocaleString(), 'number')}
      ${cell('Size', size(row.file_size), 'number')}
      ${cell('State', html`${words(row.status)}${row.pinned && html` · <span class="pinned">pinned</span>`}`)}
      <td>
        <div class="row">
          ${store.cameras.has(row.camera_id) && html`<${Show} camera=${row.camera_id} at=${row.start_time} />`}
          <button onClick=${() => show('receipt')}>Receipt</button>
          <a class="button" href=${row.download_url} download>Download</a>
          ${store.may('control') && html`
            <button disabled=${busy} onClick=${() => act(row.pinned ? 'unpin_recording' : 'pin_recording')}>${row.pinned ? 'Unpin' : 'Pin'}</button>
            <button class="danger" disabled=${busy || row.pinned || grows} onClick=${() => show('delete')}>Delete</button>`}
        </div>
        <${Failure} text=${failure} />
        ${shown === 'receipt' && html`<${FileReceipt} store=${store} filename=${row.filename} onClose=${() => show(null)} />`}
        ${shown === 'delete' && html`
          <${Confirm} title="Delete this recording?" action="Delete" text="${row.filename}, ${duration(row.duration)}, ${size(row.file_size)}. It cannot be brought back."
            onConfirm=${() => act('delete_recording')} onClose=${() => show(null)} />`}
      </td>
    </tr>`;
}

export function SessionRow({ store, row }) {
  const [shown, show] = useState(false);
  const full = row.coverage_percent >= 99.9995;
  return html`
    <tr>
      ${cell('Began', html`<${When} at=${row.start_time} />`)}
      ${cell('Camera', name(store, row.camera_id))}
      ${cell('By', html`<${Name}>${row.owner}<//>`)}
      ${cell('Recorded', duration(row.duration))}
      ${cell('Coverage', full ? '100 %' : `${row.coverage_percent.toFixed(2)} %`, 'number')}
      ${cell('Files', html`${row.files}${row.files_missing > 0 && html` (${row.files_missing} deleted)`}`, 'number')}
      ${cell('Gaps', row.gaps ? `${row.gaps} (${duration(row.missing_duration)})` : 'none', 'number')}
      ${cell('State', html`${words(row.status)}<span class="quiet">${reasonWords(row.reason)}</span>`)}
      <td>
        <div class="row">
          ${store.cameras.has(row.camera_id) && html`<${Show} camera=${row.camera_id} at=${row.start_time} />`}
          <button onClick=${() => show(true)}>Receipt</button>
        </div>
        ${shown && html`<${SessionReceipt} store=${store} session=${row} onClose=${() => show(false)} />`}
      </td>
    </tr>`;
}

export function GapRow({ store, row }) {
  return html`
    <tr>
      ${cell('Began', html`<${When} at=${row.from} />`)}
      ${cell('Camera', name(store, row.camera_id))}
      ${cell('Missing', html`${row.exact ? '' : 'about '}${duration(row.duration)}`)}
      ${cell('Frames', row.exact ? row.frames?.toLocaleString() : '–', 'number')}
      ${cell('Cause', html`<i class="swatch p-${gapPattern(row.cause)}" aria-hidden="true"></i> ${gapCause(row.cause)}`)}
      ${cell('What was done', row.action ?? '–')}
      <td><div class="row"><${Show} camera=${row.camera_id} at=${row.from} /></div></td>
    </tr>`;
}

export function SnapshotRow({ store, row, onChange }) {
  const [asked, ask] = useState(false);
  const [busy, failure, run] = useAction();
  const remove = () => run(async () => {
    await store.call('delete_snapshot', { filename: row.filename });
    onChange();
  });
  return html`
    <tr>
      ${cell('Taken', html`<${When} at=${row.start_time} />`)}
      ${cell('Camera', name(store, row.camera_id))}
      ${cell('Pixels', row.resolution ?? '–')}
      ${cell('Size', size(row.file_size), 'number')}
      <td>
        <div class="row">
          <a class="button" href=${row.download_url} download>Download</a>
          ${store.may('control') && html`<button class="danger" disabled=${busy} onClick=${() => ask(true)}>Delete</button>`}
        </div>
        <${Failure} text=${failure} />
        ${asked && html`<${Confirm} title="Delete this snapshot?" text=${row.filename} action="Delete" onConfirm=${remove} onClose=${() => ask(false)} />`}
      </td>
    </tr>`;
}
