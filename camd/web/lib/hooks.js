/** Hooks that several views use. */

import { useEffect, useRef, useState } from './preact.js';

/** Draw again when the store changes, at most once a frame. @param {import('./store.js').Store} store */
export function useStore(store) {
  const [, draw] = useState(0);
  useEffect(() => {
    let waiting = false;
    const changed = () => {
      if (waiting) return;
      waiting = true;
      setTimeout(() => {
        waiting = false;
        draw((count) => count + 1);
      }, 16); // not requestAnimationFrame: it stands still while the page is hidden
    };
    changed();
    return store.subscribe(changed);
  }, [store]);
}

/** The time, for counters; it moves while something counts. @param {boolean} runs */
export function useNow(runs, everyMs = 1000) {
  const [now, tell] = useState(Date.now());
  useEffect(() => {
    if (!runs) return undefined;
    tell(Date.now());
    const timer = setInterval(() => tell(Date.now()), everyMs);
    return () => clearInterval(timer);
  }, [runs, everyMs]);
  return now;
}

/** Whether an element is in the window, and whether the page is hidden. */
export function useVisible() {
  const ref = useRef(null);
  const [visible, tell] = useState(false);
  const [hidden, tellHidden] = useState(document.hidden);
  useEffect(() => {
    const observer = new IntersectionObserver(([entry]) => tell(entry.isIntersecting), { rootMargin: '100px' });
    observer.observe(ref.current);
    const changed = () => tellHidden(document.hidden);
    changed();
    document.addEventListener('visibilitychange', changed);
    return () => {
      observer.disconnect();
      document.removeEventListener('visibilitychange', changed);
    };
  }, []);
  return [ref, visible, hidden];
}

/** Run a handler of keys while the view is shown; not while someone types. */
export function useKeys(handle) {
  const latest = useRef(handle);
  latest.current = handle;
  useEffect(() => {
    const pressed = (event) => {
      if (event.ctrlKey || event.altKey || event.metaKey || event.defaultPrevented) return;
      if (event.target.closest('input, select, textarea, dialog')) return;
      if (event.key === ' ' && event.target.closest('button, a, summary')) return;
      if (latest.current(event.key, event)) event.preventDefault();
    };
    document.addEventListener('keydown', pressed);
    return () => document.removeEventListener('keydown', pressed);
  }, []);
}

/**
 * Do something that may fail, and keep what it says.
 * @returns {[boolean, string|null, (work: () => Promise<any>) => Promise<any>]}
 *   whether it runs, why it failed, and how to run it
 */
export function useAction() {
  const [busy, tellBusy] = useState(false);
  const [failure, tellFailure] = useState(null);
  const run = async (work) => {
    tellBusy(true);
    tellFailure(null);
    try {
      return await work();
    } catch (error) {
      tellFailure(error.text ?? error.message);
      return undefined;
    } finally {
      tellBusy(false);
    }
  };
  return [busy, failure, run];
}
