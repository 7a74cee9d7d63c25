/** A camera's picture: live video, else stills, else a sentence. Never a black square. */

import { html, useEffect, useRef, useState } from '../lib/preact.js';
import { duration } from '../lib/format.js';
import { useVisible } from '../lib/hooks.js';
import { cameraProblem, inTrouble, sentence } from '../lib/words.js';
import { FullScreenSwitch } from '../lib/full_screen.js';
import { SOUND_REFUSED, Sound, hear, useHeard } from '../lib/sound.js';
import { Words } from '../views/parts.js';
import { watchStills } from './stills.js';

const GONE = ['ended', 'lost', 'refused']; // phases of the live player
const OLD_MS = 3000; // from this age on, the age of a picture is shown

/**
 * @param {{store: any, camera: Record<string, any>, asVideo: boolean}} props
 */
export function Picture({ store, camera, asVideo }) {
  const [box, visible, hidden] = useVisible();
  const heard = useHeard(camera.camera_id); // also where nobody sees it
  const [byVideo, setByVideo] = useState(asVideo);
  return html`
    <div class="picture" ref=${box}>
      ${heard || (visible && !hidden) ? html`<${Watched} key=${byVideo} store=${store} camera=${camera} byVideo=${byVideo} heard=${heard} onNoVideo=${() => setByVideo(false)} />`
        : troubled(camera) ? html`<${Sentence} ...${cameraProblem(camera)} over=${true} />` : html`<${Waiting} />`}
      <${FullScreenSwitch} name=${camera.name} />
    </div>`;
}

/** Whether a camera sends nothing because something is wrong with it. */
const troubled = (camera) => inTrouble(camera) && camera.state !== 'STREAMING';

const Waiting = () => html`<div class="words"><p>Waiting for the picture…</p></div>`;

/** The problem of a camera that sends nothing; it is watched all the same, so that it is tried again. */
function problemOf(camera, state) {
  if (troubled(camera)) return cameraProblem(camera);
  if (state.phase === undefined) return state.message ? state : null; // stills
  return [...GONE, 'unplayable'].includes(state.phase) ? state : null;
}

function Sentence({ message, suggestion, over = false }) {
  return html`<div class="words ${over ? 'over' : ''}"><p><strong><${Words} text=${sentence(message)} /></strong></p>${suggestion && html`<p><${Words} text=${suggestion} /></p>`}</div>`;
}

function Watched({ store, camera, byVideo, heard, onNoVideo }) {
  const view = useRef(null);
  const [state, tell] = useState({});
  useEffect(() => {
    const watch = byVideo ? watchVideo : watchStills;
    const player = watch(view.current, { camera: camera.camera_id, onState: tell, onNoVideo });
    return () => player.close();
  }, [camera.camera_id]);
  useEffect(() => {
    if (GONE.includes(state.phase)) store.loadCameras().catch(() => {}); // the connection is lost, which is said elsewhere
  }, [state.phase]);
  useEffect(() => {
    if (state.soundRefused) hear(null);
  }, [state.soundRefused]);
  const alt = `${camera.name}, live`;
  const problem = problemOf(camera, state);
  const shows = state.time || state.phase === 'playing' || state.phase === 'late';
  return html`
    <div class="screen">
      ${byVideo ? html`<video ref=${view} muted=${!heard} playsinline aria-label=${alt}></video>` : html`<img ref=${view} alt=${alt} hidden=${!state.time} />`}
    </div>
    ${problem ? html`<${Sentence} message=${problem.message} suggestion=${problem.suggestion} over=${true} />` : !shows && html`<${Waiting} />`}
    ${!problem && html`<${Note} state=${state} />`}
    <${Sound} camera=${camera} video=${view} heard=${heard} has=${byVideo && state.hasSound} why=${silence(problem, shows, byVideo, state)} />`;
}

/** Why a camera without sound has none. */
function silence(problem, shows, byVideo, state) {
  if (problem || !shows) return 'No sound comes from this camera now.';
  if (!byVideo) return 'Pictures once a second have no sound; on the timeline a camera is shown by video.';
  if (state.shownAs) return 'Shown this way, the camera has no sound.';
  return state.phase === 'playing' && state.message ? sentence(state.message) : 'This camera has no sound.';
}

/** That a picture is old, that it is not the camera's own stream, or that its sound is not heard. */
function Note({ state }) {
  if (state.ageMs > OLD_MS) return html`<p class="note">${duration(state.ageMs / 1000)} old</p>`;
  if (state.phase === 'late' || (state.phase === 'playing' && state.message)) return html`<p class="note">${sentence(state.message)}</p>`;
  if (state.soundRefused) return html`<p class="note" role="status">${SOUND_REFUSED}</p>`;
  if (state.isSilent) return html`<p class="note" role="status">No sound comes from this camera now.</p>`;
  return null;
}

/** Watch by the live player, which is loaded when it is needed. */
function watchVideo(video, { camera, onState, onNoVideo }) {
  let player = null;
  let closed = false;
  import('./live.js').then(({ watch }) => {
    if (!closed) player = watch(video, { url: `/live/${encodeURIComponent(camera)}`, onState });
  }).catch(onNoVideo);
  return {
    close() {
      closed = true;
      player?.close();
    },
  };
}
