/**
 * Signing in and out over HTTP. The cookie of a session cannot be read by this page.
 *
 * @typedef {{name: string, role: string, permissions: string[], expires_at: string|null,
 *   auth_method: string, websocket: string}} Session
 */

/** Thrown when signing in fails; its message is for people. */
export class SignInError extends Error {}

const REASONS = {
  unknown_key: 'This key is not known. Keys are shown once, by `camd keys add`.',
  unknown_code: 'This link was used before, or is older than a minute. `camd open` prints another.',
  expired: 'This key has expired.',
  missing: 'Enter a key.',
  foreign_origin: 'The browser says that this page is not from the service. Open its own address.',
  too_many_failures: 'Too many wrong keys came from this address.',
};

/** @returns {Promise<Session|null>} who is signed in; null: nobody */
export async function currentSession() {
  const answer = await fetch('/session', { headers: { Accept: 'application/json' } });
  if (!answer.ok) throw new Error(`The service answers ${answer.status}.`);
  const session = await answer.json();
  return session.authenticated ? session : null;
}

/**
 * Sign in. Throws SignInError.
 * @param {{auth_token: string}|{code: string}} credentials
 * @returns {Promise<Session>}
 */
export async function signIn(credentials) {
  const answer = await fetch('/session', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(credentials),
  });
  if (answer.ok) return answer.json();
  const { reason = '' } = await answer.json().catch(() => ({}));
  let text = REASONS[reason] ?? `The key was not accepted (${reason.replaceAll('_', ' ') || answer.status}).`;
  const wait = answer.headers.get('Retry-After');
  if (wait) text += ` Try again in ${wait} s.`;
  throw new SignInError(text);
}

/** End the session, and all connections that it has. */
export async function signOut() {
  await fetch('/session', { method: 'DELETE' });
}

/** Take the code out of the address, so that it is not in the history. */
export function takeCode() {
  const [, code] = /^#code=([\w-]{20,100})$/.exec(location.hash) ?? [];
  if (code) history.replaceState(null, '', location.pathname);
  return code ?? null;
}
