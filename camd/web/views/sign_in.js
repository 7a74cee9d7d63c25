/** Signing in, where the link of `camd open` was not used. */

import { html, useEffect, useRef, useState } from '../lib/preact.js';
import { signIn } from '../lib/session.js';
import { useAction } from '../lib/hooks.js';
import { Failure, Words } from './parts.js';

/** @param {{why: string|null, onSignedIn: (session: any) => void}} props */
export function SignIn({ why, onSignedIn }) {
  const [key, setKey] = useState('');
  const field = useRef(null);
  useEffect(() => field.current.focus(), []);
  const [busy, failure, run] = useAction();
  const submit = async (event) => {
    event.preventDefault();
    const session = await run(() => signIn({ auth_token: key.trim() }));
    if (session) onSignedIn(session);
  };
  return html`
    <main class="sign-in">
      <img src="/web/icon.svg" alt="" />
      <h1>Sign in to camd</h1>
      ${why && html`<p role="status"><${Words} text=${why} /></p>`}
      <p>On the machine that records, run <code>camd open</code>: it prints a link that signs you in.</p>
      <form onSubmit=${submit}>
        <label>Or enter an API key or a JWT
          <input ref=${field} type="password" name="key" autocomplete="off" spellcheck="false" value=${key}
            onInput=${(event) => setKey(event.target.value)} />
        </label>
        <${Failure} text=${failure} />
        <button class="main" disabled=${busy || !key.trim()}>Sign in</button>
      </form>
    </main>`;
}
