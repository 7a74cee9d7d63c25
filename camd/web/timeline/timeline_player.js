/** What the timeline plays: the present, or the past from an instant on. */

import { html, useEffect, useRef, useState } from '../lib/preact.js';
import { duration, localTime, utc } from '../lib/format.js';
import { gapCause, sentence } from '../lib/words.js';
import { fetchStill } from '../player/stills.js';
import { Picture } from '../player/picture.js';
import { Name } from '../views/parts.js';
import { FullScreenSwitch } from '../lib/full_screen.js';
import { SOUND_REFUSED, Sound, hear, useHeard, useSilenceAfter } from '../lib/sound.js';

const calm = window.matchMedia('(prefers-reduced-motion: reduce)');
const GAP_TOLD_MS = 20000; // of footage behind a gap, at normal speed
const RATES = [-32, -8, 0.25, 0.5, 1, 2, 4, 8, 16, 32]; // above 8 and below 0: key frames only

/**
 * @param {{store: any, camera: any, at: number|null, ahead: boolean, handle: {current: any}, onPosition: (at: number) => void,
 *   onSkip: (from: number, ms: number) => void, onLive: () => void}} props `at` null: live; `ahead`: it lies in the future
 */
export function Player({ store, camera, at, ahead, handle, onPosition, onSkip, onLive }) {
  useSilenceAfter(camera.camera_id);
  return html`
    <section class="player stack" aria-label="Player">
      ${at === null
        ? html`<${Picture} key=${camera.camera_id} store=${store} camera=${camera} asVideo=${true} />
          <div class="row middle"><span class="chip"><i class="dot" aria-hidden="true"></i>Live: <${Name}>${camera.name}<//></span><span class="quiet">Click on a row to see the past.</span></div>`
        : ahead ? html`<${Future} at=${at} onLive=${onLive} />`
          : html`<${Past} key=${camera.camera_id} store=${store} camera=${camera} at=${at} handle=${handle} onPosition=${onPosition} onSkip=${onSkip} onLive=${onLive} />`}
    </section>`;
}

function Future({ at, onLive }) {
  return html`
    <div class="picture">
      <div class="words" role="status"><p><strong>Nothing is recorded there yet.</strong></p><p>${localTime(new Date(at))} lies in the future.</p></div>
    </div>
    <div class="row middle"><button class="main" onClick=${onLive}>Live</button></div>`;
}

/** What is said over the picture; null: nothing. */
function noticeOf({ state, message, suggestion }, searching) {
  if (state === undefined || state === 'seeking') return { message: 'Loading…' };
  if (state === 'waiting') return { message: message ? `${sentence(message)} It is tried again.` : 'Waiting for the next pictures…' };
  if (state === 'end') return { message: sentence(message), suggestion: searching ? 'The service still looks for recordings.' : '“Live” shows the present.', over: true };
  return state === 'error' ? { message: `Playback does not work: ${sentence(message)}`, suggestion: suggestion ?? 'Single pictures are shown instead.' } : null;
}

/** Where the player went on behind a gap, in words. */
const gapKind = ({ mime, cause }) => (mime ? `This browser does not play ${mime}` : cause ? `Missing: ${gapCause(cause)}` : 'Nothing recorded');
const gapWords = (gap) => `${gapKind(gap)}, ${gapTimes(gap)}`;
const gapTimes = ({ from, to }) => `${localTime(new Date(from))} – ${localTime(new Date(to))} (${duration((to - from) / 1000)}).`;

function Past({ store, camera, at, handle, onPosition, onSkip, onLive }) {
  const video = useRef(null);
  const player = useRef(null);
  const [state, tell] = useState({});
  const [rate, setRate] = useState(1);
  const [position, setPosition] = useState(at);
  const wanted = useRef(at);
  wanted.current = at;
  const moving = useRef(false);
  moving.current = state.state === 'playing';
  const notice = noticeOf(state, store.searching);
  const [passed, setGap] = useState(null); // the last gap that was passed over
  const gap = passed && position < passed.to + GAP_TOLD_MS * Math.max(1, Math.abs(rate)) ? gapWords(passed) : null;
  const heard = useHeard(camera.camera_id);
  const [refused, setRefused] = useState(false);
  useEffect(() => {
    if (heard) setRefused(false);
  }, [heard]);
  const refuseSound = () => {
    hear(null);
    setRefused(true);
  };
  const take = (next) => {
    if (next.state === 'gap') setGap(next);
    else if (next.state === 'muted') refuseSound();
    else tell(next);
    if (next.rate !== undefined) setRate(next.rate); // at the present, the player goes on at 1
    if (next.state === 'seeking') setGap(null);
    if (next.state === 'paused' && Number.isFinite(next.wall)) {
      setPosition(next.wall);
      onPosition(next.wall);
    }
  };

  useEffect(() => {
    let closed = false;
    import('../player/playback.js').then(async ({ open }) => {
      if (closed) return;
      player.current = open(video.current, { camera: camera.camera_id, fetchJson, onState: take });
      await player.current.seek(wanted.current);
      if (!closed && !calm.matches) await player.current.play();
    }).catch((error) => tell({ state: 'error', message: error.message }));
    return () => {
      closed = true;
      player.current?.close();
      player.current = null;
    };
  }, []);
  useEffect(() => {
    setPosition(at);
    player.current?.seek(at);
  }, [at]);
  useEffect(() => {
    if (state.state === 'end') player.current?.seek(state.wall); // it may have been found
  }, [store.searched]);
  useEffect(() => {
    const timer = setInterval(() => {
      const now = player.current?.now();
      if (Number.isFinite(now) && moving.current) {
        setPosition(now);
        onPosition(now);
      }
    }, 250);
    return () => clearInterval(timer);
  }, []);

  const playing = state.state === 'playing' || state.state === 'waiting';
  const toggle = () => (playing ? player.current?.pause() : player.current?.play());
  const step = (frames) => player.current?.step(frames);
  useEffect(() => {
    handle.current = { toggle, step };
    return () => { handle.current = null; };
  });
  const change = (value) => {
    setRate(value);
    player.current?.setRate(value);
  };
  const when = new Date(position);
  return html`
    <div class="picture">
      <div class="screen">
        <video ref=${video} muted=${!heard} playsinline aria-label="${camera.name}, ${localTime(when)}" onClick=${toggle}></video>
        ${state.state === 'error' && html`<${Still} camera=${camera} at=${at} />`}
      </div>
      ${notice && html`<div class="words ${notice.over ? 'over' : ''}" role="status"><p><strong>${notice.message}</strong></p>${notice.suggestion && html`<p>${notice.suggestion}</p>`}</div>`}
      ${gap && html`<p class="note gap-note" role="status">${gap}</p>`}
      ${refused && html`<p class="note gap-note" role="status">${SOUND_REFUSED}</p>`}
      ${state.unheard && !gap && html`<p class="note gap-note" role="status">This browser does not play the sound of this recording (${state.unheard}).</p>`}
      <${Sound} camera=${camera} video=${video} heard=${heard} has=${state.hasSound} why=${notice ? 'There is no sound now.' : 'This recording has no sound.'} />
      <${FullScreenSwitch} name=${camera.name} />
      <p class="note number" title=${utc(when)}>${localTime(when)}</p>
    </div>
    <div class="row middle">
      <button class="main" onClick=${toggle}>${playing ? 'Pause' : 'Play'}</button>
      <button aria-label="One frame back" onClick=${() => step(-1)}>‹ frame</button>
      <button aria-label="One frame on" onClick=${() => step(1)}>frame ›</button>
      <select aria-label="Speed" value=${rate} onChange=${(event) => change(Number(event.target.value))}>
        ${RATES.map((each) => html`<option key=${each} value=${each}>${each < 0 ? `${-each} × back` : `${each} ×`}</option>`)}
      </select>
      <button onClick=${() => onSkip(position, -10000)}>−10 s</button>
      <button onClick=${() => onSkip(position, 10000)}>+10 s</button>
      <button onClick=${onLive}>Live</button>
    </div>`;
}

/** One picture of the past, where the browser cannot play the recording. */
function Still({ camera, at }) {
  const image = useRef(null);
  const [failure, setFailure] = useState(null);
  const [shown, setShown] = useState(false);
  useEffect(() => {
    const stop = new AbortController();
    let address;
    fetchStill(camera.camera_id, `at=${encodeURIComponent(new Date(at).toISOString())}`, stop.signal).then(({ blob }) => {
      address = URL.createObjectURL(blob);
      image.current.src = address;
      setShown(true);
      setFailure(null);
    }, (error) => {
      if (stop.signal.aborted) return;
      setShown(false);
      setFailure(error);
    });
    return () => {
      stop.abort();
      URL.revokeObjectURL(address);
    };
  }, [at]);
  return html`
    <img ref=${image} hidden=${!shown} alt="${camera.name}, ${localTime(new Date(at))}" />
    ${failure && html`<div class="words over"><p><strong>${sentence(failure.message)}</strong></p>${failure.suggestion && html`<p>${failure.suggestion}</p>`}</div>`}`;
}

async function fetchJson(address) {
  const answer = await fetch(address);
  const body = await answer.json();
  if (!answer.ok) throw Object.assign(new Error(body.error ?? `The service answers ${answer.status}`), { suggestion: body.data?.suggestion });
  return body;
}
