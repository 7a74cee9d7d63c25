/** The recordings volume: how full it is, what happens when, and what was checked. */

import { html, useEffect, useState } from '../lib/preact.js';
import { count, duration, size } from '../lib/format.js';
import { useAction } from '../lib/hooks.js';
import { storageProblem } from '../lib/words.js';
import { Failure, When, Words } from './parts.js';

const YEAR_SECONDS = 366 * 86400;

/** A time that is only a forecast. */
const longTime = (seconds) => (seconds > YEAR_SECONDS ? 'more than a year' : `about ${duration(seconds)}`);

/** @param {{store: any}} props */
export function Storage({ store }) {
  const [service, setService] = useState(null);
  const [, failure, run] = useAction();
  const connected = store.connection === 'open';
  useEffect(() => {
    if (!connected) return;
    run(async () => {
      const [status, policy] = await Promise.all([
        store.call('get_system_status'),
        store.may('admin') ? store.call('get_retention_policy') : null,
        store.loadStorage(),
      ]);
      setService({ status, policy });
    });
  }, [connected, store.changedRecordings]);
  if (!store.storage) return html`<p>Waiting for the service…</p>`;
  return html`
    <div class="stack">
      <${Space} storage=${store.storage} />
      <${Failure} text=${failure} />
      ${service && html`<${Retention} policy=${service.policy} /><${Checks} status=${service.status} />`}
    </div>`;
}

function Space({ storage }) {
  const level = storage.threshold_status;
  const refused = !['normal', 'warning'].includes(level);
  const kind = level === 'normal' ? '' : level === 'warning' ? 'warning' : 'alarm';
  const percent = storage.used_percent ?? storage.usage_percent;
  const { warn_threshold: warn, block_threshold: block } = storage;
  return html`
    <section class="card stack" aria-labelledby="space">
      <h2 id="space">${storageProblem(storage)}</h2>
      ${storage.suggestion && html`<p><${Words} text=${storage.suggestion} /></p>`}
      <div>
        <div class="gauge" role="meter" aria-label="Used space" aria-valuemin="0" aria-valuemax="100" aria-valuenow=${percent}
          aria-valuetext="${percent} % used; a warning from ${warn} %, no new recordings from ${block} %">
          <div class="used ${kind}" style=${{ width: `${percent}%` }}></div>
          ${warn && html`<i class="mark" style=${{ left: `${warn}%` }}></i><i class="mark" style=${{ left: `${block}%` }}></i>`}
        </div>
        ${warn && html`<p class="quiet" aria-hidden="true">Low from ${warn} %, no new recordings from ${block} %</p>`}
      </div>
      <dl class="facts number">
        <dt>Used</dt><dd>${size(storage.used_space)} of ${size(storage.total_space)} (${percent} %)</dd>
        <dt>Available</dt><dd>${size(storage.available_space)}</dd>
        ${storage.recordings_size !== undefined && html`
          <dt>Recordings</dt><dd>${size(storage.recordings_size)}; snapshots ${size(storage.snapshots_size)}</dd>
          <dt>Reserved</dt><dd>${size(storage.promised_bytes)} for the recordings that run</dd>
          <dt>Write rate</dt><dd>${storage.write_rate ? `${size(storage.write_rate)} a second` : 'nothing is written'}</dd>
          <dt>Time to full</dt><dd>${refused ? 'new recordings are refused now' : storage.seconds_until_blocked === null ? 'no end in sight' : `${longTime(storage.seconds_until_blocked)} until new recordings are refused (${block} %)`}</dd>
          <dt>Disk</dt><dd>${storage.slow ? 'It is slow: frames wait in memory.' : 'It keeps up.'}</dd>`}
      </dl>
    </section>`;
}

function Retention({ policy }) {
  if (!policy) return null;
  const last = policy.last_run;
  return html`
    <section class="card" aria-labelledby="retention">
      <h2 id="retention">Cleanup</h2>
      <p>${policy.enabled && policy.policy_type !== 'manual'
        ? html`Removes ${policy.policy_type === 'age' ? `what is older than ${policy.max_age_days} days` : `the oldest above ${policy.max_size_gb} GB`}, except what is pinned.`
        : html`Nothing is removed by itself. <code>camd retention set age --days 30</code> changes that.`}</p>
      ${last && html`<p class="quiet">Last run <${When} at=${last.ended} />: ${last.message}</p>`}
    </section>`;
}

function Checks({ status }) {
  const { recovery, scrub } = status;
  const round = scrub?.current_round ?? scrub?.last_round;
  return html`
    <section class="card" aria-labelledby="checks">
      <h2 id="checks">Checks</h2>
      <dl class="facts">
        <dt>After the last start</dt>
        <dd>${recovery?.ended ? html`${count(recovery.files, 'file')} looked at; ${recovery.findings.length ? count(recovery.findings.length, 'finding') : 'nothing to mend'}${recovery.problem ? `; ${recovery.problem}` : ''}` : recovery ? `not finished yet; ${count(recovery.files, 'file')} looked at${recovery.problem ? `; ${recovery.problem}` : ''}` : 'not begun yet'}</dd>
        <dt>In the background</dt>
        <dd>${round ? html`${count(round.files_checked, 'file')} (${size(round.read_bytes)}) read back since <${When} at=${round.began} />; ${round.problem_count ? count(round.problem_count, 'problem') : 'no problems'}` : scrub?.enabled ? 'has not begun yet' : 'switched off'}</dd>
      </dl>
      ${round?.problems.length > 0 && html`<ul>${round.problems.map((each) => html`<li><b>${each.filename}</b> ${each.message} <span class="quiet">${each.suggestion}</span></li>`)}</ul>`}
    </section>`;
}
