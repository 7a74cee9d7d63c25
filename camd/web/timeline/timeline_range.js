/** A chosen range: typed or dragged; to take out as one file, or to keep from cleanup. */

import { html, useEffect, useState } from '../lib/preact.js';
import { count, duration, size } from '../lib/format.js';
import { useAction } from '../lib/hooks.js';
import { Failure, InstantField, Name, When } from '../views/parts.js';
import { isAhead } from './timeline_scale.js';

const MOST_PINNED = 400; // a call each; the service allows 600 a minute
const DESCRIBE_MS = 400; // after the last change of the range

const times = ({ from, to }) => ({ from: new Date(from).toISOString(), to: new Date(to).toISOString() });

/** @param {{store: any, camera: any, spans: any, range: any, suggested: any, onChange: (range: any) => void}} props */
export function RangeActions({ store, camera, spans, range, suggested, onChange }) {
  const [busy, failure, run] = useAction();
  const [said, say] = useState(null);
  const shown = range ?? suggested;
  const problem = range && trouble(range, spans);
  const usable = range !== null && problem === null;
  const set = (name, when) => {
    onChange({ ...shown, [name]: when });
    say(null);
  };
  const pin = () => run(async () => say(await pinRange(store, camera, range)));
  const field = (name, label) => html`
    <${InstantField} label=${label} at=${range?.[name] ?? null} onChange=${(when) => set(name, when)} />`;
  return html`
    <section class="card stack" aria-labelledby="range">
      <h2 id="range">A range of <${Name}>${camera.name}<//></h2>
      <div class="row">
        ${field('from', 'From')}
        ${field('to', 'To')}
        ${usable && html`
          <a class="button" href=${exportAddress(camera, range)} download>Export as one file</a>
          ${store.may('control') && html`<button disabled=${busy} onClick=${pin}>Pin its files</button>`}
          <button onClick=${() => { onChange(null); say(null); }}>Clear</button>`}
      </div>
      ${!range && html`<p class="quiet">Drag over a row with the mouse, or enter two times.</p>`}
      ${range && (usable
        ? html`<p class="quiet"><${When} at=${range.from} /> – <${When} at=${range.to} />, ${duration((range.to - range.from) / 1000)}. Gaps are closed up; no picture is made up.</p>`
        : html`<p class="failure" role="alert">${problem}</p>`)}
      <${Failure} text=${failure} />
      ${usable && html`<${Contents} store=${store} camera=${camera} range=${range} />`}
      <p role="status">${said}</p>
    </section>`;
}

const DAY_MS = 24 * 3600000;

/** Why a range cannot be taken out; null: it can. */
function trouble(range, spans) {
  if (range.to <= range.from) return 'The range ends before it begins.';
  if (isAhead(range.from, Date.now(), spans)) return 'The range lies in the future.';
  if (range.to - range.from > DAY_MS) return 'A range is at most 24 hours long.';
  return null;
}

function exportAddress(camera, range) {
  return `/export/${encodeURIComponent(camera.camera_id)}.mp4?${new URLSearchParams(times(range))}`;
}

/** What the export of a range holds, and its further parts where the format changes within it. */
function Contents({ store, camera, range }) {
  const [found, setFound] = useState(null);
  const [, failure, run] = useAction();
  useEffect(() => {
    let current = true;
    const timer = setTimeout(() => run(async () => {
      const described = await store.call('get_export', { device: camera.camera_id, ...times(range) });
      if (current) setFound(described);
    }), DESCRIBE_MS);
    return () => {
      current = false;
      clearTimeout(timer);
      setFound(null);
    };
  }, [camera.camera_id, range.from, range.to, store.searched]);
  if (failure) return html`<p class="quiet" role="status">${failure}</p>`;
  if (!found) return null;
  const missing = found.gaps.length ? `${count(found.gaps.length, 'gap')} within` : 'no gaps';
  return html`
    <p class="quiet number" role="status">${count(found.frames, 'frame')}, ${duration(found.duration)}, ${size(found.size)}, ${missing}${found.searching ? ', as far as is known yet' : ''}.</p>
    ${found.parts.length > 1 && html`
      <p>The format changes within the range, so there are ${found.parts.length} files:
        ${found.parts.map((part) => html` <a key=${part.url} href=${part.url} download>part ${part.part} (${size(part.size)})</a>`)}</p>`}`;
}

/** Pin every file that has a part in the range; returns what was done, in words. */
async function pinRange(store, camera, range) {
  const { files, total } = await store.call('list_recordings', {
    camera: camera.camera_id, ...times(range), limit: MOST_PINNED,
  });
  if (total > files.length) return `${count(total, 'file')} have a part in this range, and none was pinned: at most ${MOST_PINNED} are at a time. Choose a shorter range.`;
  const open = files.filter((file) => !file.pinned);
  for (const { filename } of open) {
    await store.call('pin_recording', { filename, reason: 'pinned on the page' });
  }
  if (!files.length) return 'Nothing is recorded in this range.';
  return `${count(open.length, 'file')} pinned${open.length < files.length ? `, ${files.length - open.length} were pinned before` : ''}: cleanup keeps them.`;
}
