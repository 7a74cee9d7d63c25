/** Recordings, sessions, gaps and snapshots as tables with the same filters. */

import { html, useEffect, useState } from '../lib/preact.js';
import { count, fieldTime } from '../lib/format.js';
import { useAction } from '../lib/hooks.js';
import { CameraChoice, Failure, Searching } from './parts.js';
import { GapRow, RecordingRow, SessionRow, SnapshotRow } from './rows.js';

const PAGE = 50;

const TABLES = {
  recordings: { title: 'Recordings', method: 'list_recordings', list: 'files', one: 'file', none: 'Nothing is recorded', Row: RecordingRow,
    heads: ['Began', 'Camera', 'Duration', '#Frames', '#Size', 'State', ''] },
  sessions: { title: 'Sessions', method: 'get_sessions', list: 'sessions', one: 'session', none: 'Nothing is recorded', Row: SessionRow,
    heads: ['Began', 'Camera', 'By', 'Recorded', '#Coverage', '#Files', '#Gaps', 'State', ''] },
  gaps: { title: 'Gaps', method: 'get_gaps', list: 'gaps', one: 'gap', none: 'Nothing is missing', Row: GapRow,
    heads: ['Began', 'Camera', 'Missing', '#Frames', 'Cause', 'What was done', ''] },
  snapshots: { title: 'Snapshots', method: 'list_snapshots', list: 'files', one: 'snapshot', none: 'There are no snapshots', Row: SnapshotRow,
    heads: ['Taken', 'Camera', 'Pixels', '#Size', ''] },
};

/** @param {{store: any, rest: string[]}} props */
export function Recordings({ store, rest }) {
  const id = Object.hasOwn(TABLES, rest[0]) ? rest[0] : 'recordings';
  const [filter, setFilter] = useState({ camera: '', from: '', to: '' });
  return html`
    <div class="stack">
      <nav class="row" aria-label="Tables">
        ${Object.entries(TABLES).map(([each, { title }]) => html`
          <a key=${each} class="button" href="#recordings/${each}" aria-current=${each === id ? 'page' : undefined}>${title}</a>`)}
      </nav>
      <${Filter} store=${store} filter=${filter} onChange=${setFilter} />
      <${Searching} store=${store} />
      <${Table} key=${id} store=${store} table=${TABLES[id]} filter=${filter} />
    </div>`;
}

function Filter({ store, filter, onChange }) {
  const field = (name, label) => html`
    <label class="instant">${label}
      <input type="datetime-local" step="1" value=${filter[name]} onChange=${(event) => onChange({ ...filter, [name]: event.target.value })} />
    </label>`;
  return html`
    <form class="row" role="search" aria-label="Filter" onSubmit=${(event) => event.preventDefault()}>
      <${CameraChoice} store=${store} value=${filter.camera} onChange=${(camera) => onChange({ ...filter, camera })} />
      ${field('from', 'From')}
      ${field('to', 'To')}
      ${(filter.camera || filter.from || filter.to) && html`
        <button type="button" onClick=${() => onChange({ camera: '', from: '', to: '' })}>Clear</button>`}
    </form>`;
}

function parameters({ camera, from, to }, offset) {
  const params = { limit: PAGE, offset };
  if (camera) params.camera = camera;
  if (fieldTime(from)) params.from = fieldTime(from).toISOString();
  if (fieldTime(to)) params.to = fieldTime(to).toISOString();
  return params;
}

function Table({ store, table, filter }) {
  const [page, setPage] = useState(null);
  const [offset, setOffset] = useState(0);
  const [, failure, run] = useAction();
  const [changes, setChanges] = useState(0);
  const connected = store.connection === 'open';

  useEffect(() => setOffset(0), [filter]);
  useEffect(() => {
    if (connected) run(async () => setPage(await store.call(table.method, parameters(filter, offset))));
  }, [filter, offset, changes, connected, store.changedRecordings]);

  const rows = page?.[table.list] ?? [];
  const total = page?.total ?? 0;
  const backwards = filter.from && filter.to && fieldTime(filter.from) > fieldTime(filter.to);
  return html`
    <${Failure} text=${failure} />
    ${backwards && html`<p class="failure" role="alert">“From” is later than “To”: nothing can lie between them.</p>`}
    ${page && total === 0 && html`<p class="card">${table.none}${store.searching ? ', as far as is known yet' : ''}${filter.camera || filter.from || filter.to ? ' with this filter' : ''}.</p>`}
    ${rows.length > 0 && html`
      <div class="scroll">
        <table>
          <caption>${count(total, table.one)}, the newest first</caption>
          <thead><tr>${table.heads.map((head, index) => html`<th key=${index} scope="col" class=${head.startsWith('#') ? 'number' : ''}>${head.replace('#', '') || html`<span class="hidden-text">Actions</span>`}</th>`)}</tr></thead>
          <tbody>
            ${rows.map((row) => html`<${table.Row} key=${row.filename ?? `${row.session_id} ${row.from ?? ''}`} store=${store} row=${row} onChange=${() => setChanges(changes + 1)} />`)}
          </tbody>
        </table>
      </div>`}
    ${total > PAGE && html`
      <nav class="row middle" aria-label="Pages">
        <button disabled=${offset === 0} onClick=${() => setOffset(Math.max(0, offset - PAGE))}>Newer</button>
        <span class="number">${offset + 1}–${Math.min(total, offset + PAGE)} of ${total.toLocaleString()}</span>
        <button disabled=${offset + PAGE >= total} onClick=${() => setOffset(offset + PAGE)}>Older</button>
      </nav>`}`;
}
