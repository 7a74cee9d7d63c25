/** What is wrong now, above every view; and that the connection is lost. */

import { html } from '../lib/preact.js';
import { count } from '../lib/format.js';
import { problemsNow } from '../lib/words.js';
import { Name, Words } from './parts.js';

const MOST_SHOWN = 3; // more would take the view's place

/** @param {{store: any}} props */
export function Problems({ store }) {
  const found = problemsNow(store);
  const further = found.slice(MOST_SHOWN);
  return html`
    <section aria-label="Problems" aria-live="polite">
      ${found.length > 0 && html`<${List} found=${found.slice(0, MOST_SHOWN)} />`}
      ${further.length > 0 && html`
        <details class="problems"><summary>${count(further.length, 'more problem')}</summary><${List} found=${further} /></details>`}
    </section>`;
}

const List = ({ found }) => html`
  <ul class="problems">
    ${found.map(({ key, level, where, message, suggestion }) => html`
      <li key=${key} class=${level}><b><${Name}>${where}<//></b><${Words} text=${message} /> ${suggestion && html`<span class="quiet"><${Words} text=${suggestion} /></span>`}</li>`)}
  </ul>`;

const WORDS = {
  silent: 'The service does not answer. What you see is not current.',
  lost: 'The connection to the service is lost. What you see is not current; the page reconnects by itself.',
};

/** @param {{state: string}} props */
export function Lost({ state }) {
  return html`<div role="alert">${WORDS[state] && html`<p class="lost">${WORDS[state]}</p>`}</div>`;
}
