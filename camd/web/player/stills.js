/** Pictures once a second, where video cannot be played: one picture at a time, never a queue. */

const EVERY_MS = 1000;
const AFTER_FAILURE_MS = 3000;
const LONGEST_MS = 10000; // for an answer: the connection may have ended without a word

/**
 * Show a camera by single pictures in an `img` until it is closed.
 *
 * `onState` gets `{ageMs, time}` with every picture, and `{message, suggestion}` when there is none.
 * @param {HTMLImageElement} image
 * @param {{camera: string, onState: (state: Record<string, any>) => void}} options
 * @returns {{close: () => void}}
 */
export function watchStills(image, { camera, onState }) {
  const stop = new AbortController();
  let asked = stop;
  let timer;
  let shown = null;

  const show = async () => {
    const began = performance.now();
    let pause = EVERY_MS;
    const late = setTimeout(() => asked.abort(), LONGEST_MS);
    try {
      asked = new AbortController();
      const picture = await fetchStill(camera, 'max_age_ms=1500', asked.signal);
      const url = URL.createObjectURL(picture.blob);
      image.src = url;
      await image.decode();
      if (shown) URL.revokeObjectURL(shown);
      shown = url;
      onState({ ageMs: picture.ageMs, time: picture.time });
    } catch (error) {
      if (stop.signal.aborted) return;
      pause = AFTER_FAILURE_MS;
      const message = asked.signal.aborted ? 'No picture has come for some time' : error.message;
      onState({ message, suggestion: error.suggestion ?? '' });
    } finally {
      clearTimeout(late);
    }
    if (!stop.signal.aborted) {
      timer = setTimeout(show, Math.max(100, pause - (performance.now() - began)));
    }
  };

  show();
  return {
    close() {
      stop.abort();
      asked.abort();
      clearTimeout(timer);
      if (shown) URL.revokeObjectURL(shown);
      image.removeAttribute('src');
    },
  };
}

/**
 * Get one picture. Rejects with the service's message, and `suggestion`.
 * @param {string} camera @param {string} query @param {AbortSignal} [signal]
 */
export async function fetchStill(camera, query, signal) {
  const answer = await fetch(`/still/${encodeURIComponent(camera)}.jpg?${query}`, { signal });
  if (!answer.ok) {
    const { error, data } = await answer.json().catch(() => ({}));
    throw Object.assign(new Error(error ?? `No picture (${answer.status})`), { suggestion: data?.suggestion });
  }
  return {
    blob: await answer.blob(),
    ageMs: Number(answer.headers.get('X-Frame-Age-Ms')),
    time: new Date(answer.headers.get('X-Frame-Time') ?? NaN),
  };
}
