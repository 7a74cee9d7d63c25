/** What mouse, wheel and fingers do on the rows: click or tap, drag, wheel, pinch. */

import { useEffect, useRef } from '../lib/preact.js';
import { instant, moved, zoomed } from './timeline_scale.js';

const CLICK_PIXELS = 5;
const WHEEL = 0.0015; // zoom for each pixel of the wheel

/**
 * A click seeks. Dragging with the mouse chooses a range, with a finger it moves the window. The
 * wheel zooms, sideways it moves the window; two fingers zoom.
 * @param {{current: HTMLElement}} ref
 * @param {{range: any, setRange: (range: any) => void, seek: (at: number, camera?: string) => void,
 *   choose: (from: number|null, to?: number) => void}} actions
 */
export function useGestures(ref, actions) {
  const latest = useRef(actions);
  latest.current = actions;
  useEffect(() => {
    const element = ref.current;
    if (!element) return undefined;
    const gestures = new Gestures(element, latest);
    return () => gestures.close();
  }, [Boolean(ref.current)]);
}

class Gestures {
  constructor(element, latest) {
    this.element = element;
    this.latest = latest;
    this.fingers = new Map();
    this.drag = null;
    this.listeners = new AbortController();
    const { signal } = this.listeners;
    element.addEventListener('wheel', (event) => this.wheel(event), { signal, passive: false });
    element.addEventListener('pointerdown', (event) => this.down(event), { signal });
    element.addEventListener('pointermove', (event) => this.move(event), { signal });
    element.addEventListener('pointerup', (event) => this.up(event), { signal });
    element.addEventListener('pointercancel', (event) => this.cancel(event), { signal });
  }

  /** The share of the width at which an event is. */
  share({ clientX }) {
    const { left, width } = this.element.getBoundingClientRect();
    return (clientX - left) / width;
  }

  wheel(event) {
    const { range, setRange } = this.latest.current;
    event.preventDefault();
    if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      const pixels = event.shiftKey ? event.deltaY : event.deltaX;
      setRange(moved(range, pixels / this.element.clientWidth));
    } else {
      setRange(zoomed(range, Math.exp(event.deltaY * WHEEL), instant(range, this.share(event))));
    }
  }

  down(event) {
    if (event.button !== 0) return;
    this.fingers.set(event.pointerId, event.clientX);
    const camera = event.target.closest('[data-camera]')?.dataset.camera;
    this.drag = { ...this.begun(event.clientX), moved: this.fingers.size > 1, camera };
    this.element.setPointerCapture(event.pointerId);
  }

  /** What a drag that begins now moves. */
  begun(x) {
    return { x, range: this.latest.current.range };
  }

  move(event) {
    if (!this.fingers.has(event.pointerId) || !this.drag) return;
    const { range, setRange, choose } = this.latest.current;
    const before = [...this.fingers.values()];
    this.fingers.set(event.pointerId, event.clientX);
    const after = [...this.fingers.values()];
    if (after.length >= 2) {
      const [was, is] = [before, after].map(([one, other]) => Math.max(20, Math.abs(one - other)));
      setRange(zoomed(range, was / is, instant(range, this.share({ clientX: (after[0] + after[1]) / 2 }))));
      this.drag.moved = true;
      return;
    }
    const by = event.clientX - this.drag.x;
    if (Math.abs(by) < CLICK_PIXELS && !this.drag.moved) return;
    this.drag.moved = true;
    if (event.pointerType === 'touch') setRange(moved(this.drag.range, -by / this.element.clientWidth));
    else choose(instant(range, this.share({ clientX: this.drag.x })), instant(range, this.share(event)));
  }

  up(event) {
    const clicked = this.drag && !this.drag.moved;
    const camera = this.drag?.camera;
    this.cancel(event);
    if (clicked) this.latest.current.seek(instant(this.latest.current.range, this.share(event)), camera);
  }

  cancel(event) {
    this.fingers.delete(event.pointerId);
    const [left] = this.fingers.values();
    if (left === undefined) this.drag = null;
    else Object.assign(this.drag, this.begun(left)); // the other finger goes on from what it sees
  }

  close() {
    this.listeners.abort();
  }
}
