/** The switch of a picture to the whole screen, with what belongs to it: its name, its state, its buttons. */

import { html } from './preact.js';

const WHOLE = '.tile, .player'; // what is shown on the whole screen

/** Show it on the whole screen, or no longer. On an iPhone, only videos can be. @param {Element} part */
function toggle(part) {
  const whole = part.closest(WHOLE);
  if (document.fullscreenElement) document.exitFullscreen();
  else if (whole.requestFullscreen) whole.requestFullscreen();
  else whole.querySelector('video')?.webkitEnterFullscreen?.();
}

/** Where another one is on the whole screen, show this one there in its place. @param {HTMLElement} whole */
export async function moveFullScreen(whole) {
  if (!document.fullscreenElement || document.fullscreenElement === whole) return;
  await document.exitFullscreen();
  await whole.requestFullscreen();
  whole.focus();
}

/** The switch. @param {{name: string}} props */
export function FullScreenSwitch({ name }) {
  return html`
    <button class="full-screen" data-key="f" aria-label="Full screen, ${name}" title="Full screen on or off (f)"
      onClick=${({ currentTarget }) => toggle(currentTarget)}>
      <svg viewBox="0 0 24 24" width="20" height="20" fill="none" stroke="currentColor" stroke-width="2" aria-hidden="true">
        <path d="M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5" />
      </svg>
    </button>`;
}
