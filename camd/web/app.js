/** The page: who is signed in, which view is shown, what is above all views. */

import { html, render, useEffect, useRef, useState } from './lib/preact.js';
import { currentSession, signIn, signOut, takeCode } from './lib/session.js';
import { isolated } from './lib/format.js';
import { useKeys, useStore } from './lib/hooks.js';
import { Store } from './lib/store.js';
import { problemsNow } from './lib/words.js';
import { SignIn } from './views/sign_in.js';
import { Lost, Problems } from './views/problems.js';
import { Help } from './views/help.js';
import { Cameras } from './views/cameras.js';
import { Timeline } from './timeline/timeline.js';
import { Recordings } from './views/recordings.js';
import { Storage } from './views/storage.js';
import { Events } from './views/events.js';
import { Keys } from './views/keys.js';

const VIEWS = {
  cameras: ['Cameras', Cameras],
  timeline: ['Timeline', Timeline],
  recordings: ['Recordings', Recordings],
  storage: ['Storage', Storage],
  events: ['Events', Events],
  keys: ['Keys', Keys],
};

/** The views that somebody has; keys are for administrators, where there are any. */
const viewsFor = (store) => Object.entries(VIEWS)
  .filter(([id]) => id !== 'keys' || (store.may('admin') && store.session.auth_method !== 'anonymous'));

/** A part of the address; what is no text of a URL stays as it is. */
function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** The view and what it shows, from `#timeline/camera0`. */
function useRoute() {
  const read = () => {
    const [view, ...rest] = location.hash.slice(1).split('/');
    return Object.hasOwn(VIEWS, view) ? [view, rest.map(decoded)] : ['cameras', []];
  };
  const [route, go] = useState(read);
  useEffect(() => {
    const changed = () => go(read());
    changed(); // the address may have changed since the page was first drawn
    window.addEventListener('hashchange', changed);
    return () => window.removeEventListener('hashchange', changed);
  }, []);
  return route;
}

/** @param {{store: Store, onSignOut: () => void}} props */
function Frame({ store, onSignOut }) {
  useStore(store);
  const [wanted, rest] = useRoute();
  const [help, showHelp] = useState(false);
  const main = useRef(null);
  const views = viewsFor(store);
  const view = views.some(([id]) => id === wanted) ? wanted : 'cameras';
  const [name, View] = VIEWS[view];
  const count = problemsNow(store).length;
  const stale = store.connection === 'lost' || store.connection === 'silent';
  useKeys((key) => key === '?' && (showHelp(true), true));
  useEffect(() => window.scrollTo(0, 0), [view]);
  useEffect(() => {
    document.title = `${count ? `(${count}) ` : ''}${name} · camd`;
  }, [count, name]);
  return html`
    <div class="frame ${stale ? 'stale' : ''}">
      <header class="bar">
        <h1>camd</h1>
        <nav aria-label="Views">
          ${views.map(([id, [label]]) => html`
            <a key=${id} href="#${id}" aria-current=${id === view ? 'page' : undefined}>${label}</a>`)}
        </nav>
        <div class="who">
          <button class="bare" aria-label="Keyboard" title="Keyboard (?)" onClick=${() => showHelp(true)}>?</button>
          ${store.session.auth_method !== 'anonymous' && html`
            <button class="bare" title="Signed in as ${isolated(store.session.name)}, ${store.session.role}" onClick=${onSignOut}>Sign out</button>`}
        </div>
      </header>
      <div>
        <${Lost} state=${store.connection} />
        <${Problems} store=${store} />
      </div>
      <main ref=${main} aria-label=${name} aria-busy=${store.connection === 'connecting'}>
        ${store.cameras.size === 0 && store.connection === 'connecting'
          ? html`<p class="plain" role="status">Connecting…</p>`
          : html`<${View} key=${view} store=${store} rest=${rest} />`}
      </main>
      ${help && html`<${Help} onClose=${() => showHelp(false)} />`}
    </div>`;
}

/** A link that was used before does no harm where its session goes on. */
async function otherwiseSignedIn(error) {
  const session = await currentSession();
  if (session) return session;
  throw error;
}

/** Sign in by the cookie or by the code of a link, then show the views. */
function Page({ code }) {
  const [store, setStore] = useState(null);
  const [why, setWhy] = useState(null);
  const [ready, setReady] = useState(false);

  const begin = (session) => {
    const store = new Store(session, () => end('You were signed out: the session has ended, or its key was revoked.'));
    setStore((before) => {
      before?.close();
      return store;
    });
    setReady(true);
  };
  const end = (text) => {
    setStore((before) => before?.close() ?? null);
    setWhy(text);
    setReady(true);
  };
  useEffect(() => {
    const start = async (used) => {
      try {
        const session = used ? await signIn({ code: used }).catch(otherwiseSignedIn) : await currentSession();
        if (session) begin(session);
        else end(null);
      } catch (error) {
        end(error.message);
      }
    };
    const pasted = () => { // a link was opened in a tab that shows the page already
      const used = takeCode();
      if (used) start(used);
    };
    start(code);
    pasted();
    window.addEventListener('hashchange', pasted);
    return () => window.removeEventListener('hashchange', pasted);
  }, []);

  const signedOut = ready && !store;
  useEffect(() => { // somebody may have signed in in another tab
    if (!signedOut) return undefined;
    const look = () => !document.hidden && currentSession().then((session) => session && begin(session), () => {});
    window.addEventListener('focus', look);
    document.addEventListener('visibilitychange', look);
    return () => {
      window.removeEventListener('focus', look);
      document.removeEventListener('visibilitychange', look);
    };
  }, [signedOut]);

  if (!ready) return html`<p class="plain" role="status">Connecting…</p>`;
  if (!store) return html`<${SignIn} why=${why} onSignedIn=${begin} />`;
  const leave = async () => {
    await signOut();
    end('You are signed out.');
  };
  return html`<${Frame} key=${store} store=${store} onSignOut=${leave} />`;
}

render(html`<${Page} code=${takeCode()} />`, document.getElementById('page'));
