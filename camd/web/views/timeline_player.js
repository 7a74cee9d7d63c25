/** What the timeline plays: the present, or the past from an instant on. */

import { html, useEffect, useRef, useState } from '../lib/preact.js';
import { localTime, utc } from '../lib/format.js';
import { sentence } from '../lib/words.js';
import { fetchStill } from '../player/stills.js';
import { Picture } from './picture.js';

const RATES = [0.5, 1, 2, 4, 8];

/**
 * @param {{store: any, camera: any, at: number|null, handle: {current: any}, onPosition: (at: number) => void,
 *   onSeek: (at: number) => void, onLive: () => void}} props `at` null: live
 */
export function Player({ store, camera, at, handle, onPosition, onSeek, onLive }) {
  return html`
    <section class="player stack" aria-label="Player">
      ${at === null
        ? html`<${Picture} key=${camera.camera_id} camera=${camera} asVideo=${true} />
          <div class="row middle"><span class="chip"><i class="dot" aria-hidden="true"></i>Live: ${camera.name}</span><span class="quiet">Click on a row to see the past.</span></div>`
        : html`<${Past} key=${camera.camera_id} store=${store} camera=${camera} at=${at} handle=${handle} onPosition=${onPosition} onSeek=${onSeek} onLive=${onLive} />`}
    </section>`;
}

function Past({ camera, at, handle, onPosition, onSeek, onLive }) {
  const video = useRef(null);
  const player = useRef(null);
  const [state, tell] = useState({});
  const [rate, setRate] = useState(1);
  const [byVideo, setByVideo] = useState(true);
  const [position, setPosition] = useState(at);

  useEffect(() => {
    if (!byVideo) return undefined;
    let closed = false;
    import('../player/playback.js').then(({ open }) => {
      if (closed) return;
      player.current = open(video.current, { camera: camera.camera_id, fetchJson, onState: tell });
      player.current.seek(at);
    }).catch(() => setByVideo(false));
    return () => {
      closed = true;
      player.current?.close();
      player.current = null;
    };
  }, [byVideo]);
  useEffect(() => {
    setPosition(at);
    player.current?.seek(at);
  }, [at]);
  useEffect(() => {
    const timer = setInterval(() => {
      const now = player.current?.now();
      if (typeof now === 'number' && !video.current?.paused) {
        setPosition(now);
        onPosition(now);
      }
    }, 250);
    return () => clearInterval(timer);
  }, []);

  const toggle = () => (video.current?.paused ? player.current?.play() : player.current?.pause());
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
      ${byVideo ? html`<video ref=${video} muted playsinline aria-label="${camera.name}, ${localTime(when)}" onClick=${toggle}></video>` : html`<${Still} camera=${camera} at=${at} />`}
      ${state.message && html`<div class="words over" role="status"><p><strong>${sentence(state.message)}</strong></p>${state.suggestion && html`<p>${state.suggestion}</p>`}</div>`}
      <p class="note number" title=${utc(when)}>${localTime(when)}</p>
    </div>
    <div class="row middle">
      ${byVideo && html`
        <button onClick=${toggle}>${state.playing ? 'Pause' : 'Play'}</button>
        <button aria-label="One frame back" onClick=${() => step(-1)}>‹ frame</button>
        <button aria-label="One frame on" onClick=${() => step(1)}>frame ›</button>
        <select aria-label="Speed" value=${rate} onChange=${(event) => change(Number(event.target.value))}>
          ${RATES.map((each) => html`<option key=${each} value=${each}>${each} ×</option>`)}
        </select>`}
      <button onClick=${() => onSeek(position - 10000)}>−10 s</button>
      <button onClick=${() => onSeek(position + 10000)}>+10 s</button>
      <button onClick=${onLive}>Live</button>
    </div>`;
}

/** One picture of the past, where playback is not to be had. */
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
