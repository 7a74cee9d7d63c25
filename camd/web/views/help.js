/** The keys of the keyboard that the page knows. */

import { html } from '../lib/preact.js';
import { Dialog } from './parts.js';

const KEYS = [
  [['1', '…', '9'], 'Choose a camera'],
  [['←', '→', '↑', '↓'], 'Next camera; on the timeline: 5 seconds back and forth, zoom in and out'],
  [['r'], 'Start or stop recording the chosen camera'],
  [['s'], 'Snapshot of the chosen camera'],
  [['f'], 'Full screen, on or off'],
  [['m'], 'Sound of the chosen camera, on or off'],
  [['Space'], 'Timeline: play or pause'],
  [[',', '.'], 'Timeline: one frame back, one frame on'],
  [['+', '-'], 'Timeline: zoom in, zoom out'],
  [['l'], 'Timeline: back to live'],
  [['Esc'], 'Timeline: no range chosen any more'],
  [['?'], 'These keys'],
];

/** @param {{onClose: () => void}} props */
export function Help({ onClose }) {
  return html`
    <${Dialog} title="Keyboard" onClose=${onClose}>
      <dl class="keys">
        ${KEYS.map(([keys, what]) => html`<dt>${keys.map((key) => html`<kbd>${key}</kbd> `)}</dt><dd>${what}</dd>`)}
      </dl>
      <div class="row"><button onClick=${onClose}>Close</button></div>
    <//>`;
}
