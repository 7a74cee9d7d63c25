/** API keys, for administrators: who has one, what it allows, a new one, and revoking one. */

import { html, useEffect, useRef, useState } from '../lib/preact.js';
import { count, isolated } from '../lib/format.js';
import { useAction } from '../lib/hooks.js';
import { keyWarnings, roleWords } from '../lib/words.js';
import { Confirm, Failure, Name, When } from './parts.js';
import { cell } from './rows.js';

const ROLES = ['viewer', 'operator', 'admin'];
const DAY = 86400;
const LIFETIMES = [
  ['', 'Until revoked'], [DAY, '1 day'], [7 * DAY, '7 days'], [30 * DAY, '30 days'], [90 * DAY, '90 days'], [365 * DAY, '1 year'],
];

/** @param {{store: any}} props */
export function Keys({ store }) {
  const [keys, setKeys] = useState(null);
  const [made, setMade] = useState(null); // undefined after it was shown
  const [changes, setChanges] = useState(0);
  const [, failure, run] = useAction();
  const connected = store.connection === 'open';
  const changed = () => setChanges((before) => before + 1);
  useEffect(() => {
    if (connected) run(async () => setKeys((await store.call('list_keys')).keys));
  }, [connected, changes]);
  return html`
    <div class="stack">
      ${made
        ? html`<${NewKey} made=${made} onClose=${() => setMade(undefined)} />`
        : html`<${Add} store=${store} again=${made === undefined} onMade=${(key) => { setMade(key); changed(); }} />`}
      <${Failure} text=${failure} />
      ${keys?.length > 0 && html`
        <div class="scroll">
          <table>
            <caption>${count(keys.length, 'key')}; the keys themselves are not stored</caption>
            <thead><tr><th scope="col">Name</th><th scope="col">Role</th><th scope="col">Made</th><th scope="col">Expires</th><th scope="col"><span class="hidden-text">Actions</span></th></tr></thead>
            <tbody>${keys.map((row) => html`<${KeyRow} key=${row.name} store=${store} row=${row} keys=${keys} onChange=${changed} />`)}</tbody>
          </table>
        </div>`}
    </div>`;
}

function Add({ store, again, onMade }) {
  const first = useRef(null);
  useEffect(() => { if (again) first.current.focus(); }, []);
  const [name, setName] = useState('');
  const [role, setRole] = useState('viewer');
  const [lifetime, setLifetime] = useState('');
  const [busy, failure, run] = useAction();
  const submit = async (event) => {
    event.preventDefault();
    const params = { name: name.trim(), role, ...(lifetime ? { lifetime: Number(lifetime) } : {}) };
    const made = await run(() => store.call('create_key', params));
    if (made) onMade(made);
  };
  return html`
    <section class="card stack" aria-labelledby="add-key">
      <h2 id="add-key">Add a key</h2>
      <p class="quiet">One for each person and program, so that each can be revoked alone.</p>
      <form class="row" aria-labelledby="add-key" onSubmit=${submit}>
        <label>Name
          <input ref=${first} type="text" name="name" required maxlength="64" autocomplete="off" value=${name} onInput=${(event) => setName(event.target.value)} />
        </label>
        <label>Role
          <select name="role" value=${role} onChange=${(event) => setRole(event.target.value)}>
            ${ROLES.map((each) => html`<option key=${each} value=${each}>${each}: ${roleWords(each)}</option>`)}
          </select>
        </label>
        <label>Valid
          <select name="lifetime" value=${lifetime} onChange=${(event) => setLifetime(event.target.value)}>
            ${LIFETIMES.map(([value, text]) => html`<option key=${value} value=${value}>${text}</option>`)}
          </select>
        </label>
        <button class="main" disabled=${busy || !name.trim()}>Add</button>
      </form>
      <${Failure} text=${failure} />
    </section>`;
}

/** The new key. Only its holder has it after this: the service keeps a hash. */
function NewKey({ made, onClose }) {
  const field = useRef(null);
  const [said, say] = useState(null);
  useEffect(() => {
    field.current.focus();
    field.current.select();
  }, []);
  const copy = async () => {
    say(await copied(made.key, field.current) ? 'Copied.' : 'The browser does not let the page copy: press Ctrl+C.');
  };
  return html`
    <section class="card stack" aria-labelledby="new-key">
      <h2 id="new-key">The key “<bdi>${made.name}</bdi>”</h2>
      <p>Copy it now: it is not shown again. Whoever has it ${roleWords(made.role)}.</p>
      <div class="row">
        <label class="grow">Key
          <input ref=${field} class="mono" type="text" readonly autocomplete="off" spellcheck="false" value=${made.key} />
        </label>
        <button class="main" onClick=${copy}>Copy</button>
        <button onClick=${onClose}>Done</button>
      </div>
      <p role="status">${said}</p>
    </section>`;
}

/** Copy text; without TLS, browsers allow it only for what is selected. It stays so where both fail. */
async function copied(text, field) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const before = document.activeElement;
    field.select();
    const done = document.execCommand('copy');
    if (done) before.focus();
    return done;
  }
}

function KeyRow({ store, row, keys, onChange }) {
  const [asked, ask] = useState(false);
  const [busy, failure, run] = useAction();
  const expired = row.expires && new Date(row.expires) <= new Date();
  const revoke = () => run(async () => {
    await store.call('revoke_key', { name: row.name });
    onChange();
  });
  return html`
    <tr>
      ${cell('Name', html`<${Name}>${row.name}<//>`)}
      ${cell('Role', html`${row.role} <span class="quiet">(${roleWords(row.role)})</span>`)}
      ${cell('Made', html`<${When} at=${row.created} />`)}
      ${cell('Expires', row.expires ? html`<${When} at=${row.expires} />${expired && html` <b>expired</b>`}` : 'never')}
      <td>
        <div class="row"><button class="danger" disabled=${busy} aria-label="Revoke ${row.name}" onClick=${() => ask(true)}>Revoke</button></div>
        <${Failure} text=${failure} />
        ${asked && html`
          <${Confirm} title="Revoke the key “${isolated(row.name)}”?" action="Revoke" text=${keyWarnings(row, keys, store.session).join(' ')}
            onConfirm=${revoke} onClose=${() => ask(false)} />`}
      </td>
    </tr>`;
}
