/** Receipts: what of a session or of a file is on disk, with hashes, and what is missing. */

import { html, useEffect, useState } from '../lib/preact.js';
import { count, duration, size } from '../lib/format.js';
import { useAction } from '../lib/hooks.js';
import { gapCause } from '../lib/words.js';
import { Dialog, Failure, When } from './parts.js';

const MOST_FILES = 1000;

/** @param {{store: any, filename: string, onClose: () => void}} props */
export function FileReceipt({ store, filename, onClose }) {
  const [file, setFile] = useState(null);
  const [, failure, run] = useAction();
  useEffect(() => {
    run(async () => setFile(await store.call('get_recording_info', { filename })));
  }, [filename]);
  return html`
    <${Dialog} title=${filename} onClose=${onClose}>
      <${Failure} text=${failure} />
      ${file && html`
        <dl class="facts">
          <dt>Time</dt><dd><${When} at=${file.start_time} /> – <${When} at=${file.end_time} /> (${duration(file.duration)})</dd>
          <dt>Picture</dt><dd>${file.codec}, ${file.resolution ?? 'size not known'}, ${file.frames?.toLocaleString()} frames</dd>
          <dt>Size</dt><dd>${size(file.file_size)}</dd>
          <dt>Durable</dt><dd>${file.durable ? 'Yes: it survives a power cut.' : 'Not yet: the newest part may still be on its way to the disk.'}</dd>
          <dt>SHA-256, from byte 48 on</dt><dd class="mono">${file.sha256 ?? 'not known yet'}</dd>
          <dt>Pin</dt><dd>${file.pin ? html`by <bdi>${file.pin.by}</bdi>${file.pin.reason && html`: <bdi>${file.pin.reason}</bdi>`}` : 'not pinned'}</dd>
          <dt>Session</dt><dd class="mono">${file.session_id}</dd>
        </dl>
        <${Gaps} gaps=${file.gaps} of=" of its session" />`}
      <div class="row"><button onClick=${onClose}>Close</button></div>
    <//>`;
}

/** @param {{store: any, session: Record<string, any>, onClose: () => void}} props */
export function SessionReceipt({ store, session, onClose }) {
  const [found, setFound] = useState(null);
  const [, failure, run] = useAction();
  const { session_id } = session;
  useEffect(() => {
    run(async () => {
      const [files, gaps] = await Promise.all([
        store.call('list_recordings', { session_id, limit: MOST_FILES }),
        store.call('get_gaps', { session_id, limit: MOST_FILES }),
      ]);
      setFound({ files: files.files.reverse(), gaps: gaps.gaps.reverse() });
    });
  }, [session_id]);
  return html`
    <${Dialog} title="Receipt of a session" onClose=${onClose}>
      <${Failure} text=${failure} />
      <p>${count(session.frames ?? 0, 'frame')} in ${count(session.files, 'file')}, ${size(session.file_size)}; ${session.coverage_percent.toFixed(3)} % of the time is recorded.</p>
      ${found && html`
        <div class="scroll">
          <table>
            <thead><tr><th scope="col">File</th><th scope="col">Duration</th><th scope="col" class="number">Frames</th><th scope="col" class="number">Size</th></tr></thead>
            <tbody>${found.files.map((file) => html`
              <tr key=${file.filename}><td data-label="File"><a href=${file.download_url} download>${file.filename}</a></td>
                <td data-label="Duration">${duration(file.duration)}</td><td data-label="Frames" class="number">${file.frames}</td><td data-label="Size" class="number">${size(file.file_size)}</td></tr>`)}
            </tbody>
          </table>
        </div>
        <${Gaps} gaps=${found.gaps} />`}
      <div class="row"><button onClick=${onClose}>Close</button></div>
    <//>`;
}

/** @param {{gaps: any[], of?: string}} props `of`: what they belong to, where that is not said above */
function Gaps({ gaps, of = '' }) {
  if (!gaps?.length) return html`<p>Nothing${of} is missing: the ledger has no gap.</p>`;
  return html`
    <h3>${gaps.length === 1 ? 'One gap' : count(gaps.length, 'gap')}${of}</h3>
    <ul>
      ${gaps.map((gap) => html`<li><${When} at=${gap.from} />: ${duration(gap.duration)}, ${gapCause(gap.cause)}${gap.action ? ` – ${gap.action}` : ''}</li>`)}
    </ul>`;
}
