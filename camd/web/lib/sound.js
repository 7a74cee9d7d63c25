/** Whose sound is heard: that of one camera at a time, and of none at first. */

import { html, useEffect, useState } from './preact.js';

export const SOUND_REFUSED = 'This browser did not allow the sound. Switch it on again.';

let heard = null; // a camera's id
const listeners = new Set();

/** Hear a camera, and no other one. @param {string|null} camera null: none */
export function hear(camera) {
  heard = camera;
  for (const tell of listeners) tell(heard);
}

/** Whether a camera is heard. @param {string} camera */
export function useHeard(camera) {
  const [who, tell] = useState(heard);
  useEffect(() => {
    listeners.add(tell);
    tell(heard);
    return () => listeners.delete(tell);
  }, []);
  return who === camera;
}

/** Nothing is heard any more when a view is left, or shows another camera. @param {string} [camera] */
export function useSilenceAfter(camera) {
  useEffect(() => () => hear(null), [camera]);
}

/**
 * The switch; where there is no sound, a sentence that says so to whom asks for it by key.
 * @param {{camera: Record<string, any>, video: {current: HTMLVideoElement|null}, heard: boolean, has: boolean, why: string}} props
 *   `has`: whether there is sound; `why`: there is none
 */
export function Sound({ camera, video, heard, has, why }) {
  const [asked, ask] = useState(false);
  useEffect(() => ask(false), [has]);
  if (has) return html`<${SoundSwitch} camera=${camera} video=${video} heard=${heard} />`;
  return html`
    <button hidden data-key="m" onClick=${() => ask(!asked)}></button>
    <p class="note sound-note" role="status">${asked && why}</p>`;
}

/**
 * The switch. The element is told at once, in the click: some browsers allow sound only there.
 * @param {{camera: Record<string, any>, video: {current: HTMLVideoElement|null}, heard: boolean}} props
 */
function SoundSwitch({ camera, video, heard }) {
  const toggle = () => {
    if (video.current) video.current.muted = heard;
    hear(heard ? null : camera.camera_id);
  };
  return html`
    <button class="sound" data-key="m" aria-pressed=${heard} aria-label="Sound of ${camera.name}" title="Sound on or off (m)" onClick=${toggle}>
      <svg viewBox="0 0 24 24" width="20" height="20" fill="none" stroke="currentColor" stroke-width="2" aria-hidden="true">
        <path fill="currentColor" d="M4 9h4l5-4v14l-5-4H4z" />
        ${heard ? html`<path d="M16 9q2 3 0 6m3-9q4 6 0 12" />` : html`<path d="M16 9l6 6m0-6l-6 6" />`}
      </svg>
      Sound
    </button>`;
}
