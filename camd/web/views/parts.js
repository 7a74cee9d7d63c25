/** Small parts of several views: times, failures, dialogs. */

import { html, useEffect, useRef, useState } from '../lib/preact.js';
import { fieldTime, fieldValue, localTime, twin, utc, zone, zoneOf } from '../lib/format.js';

/** A local time; its UTC and its zone show on hover. @param {{at: string|Date|number, text?: string}} props */
export function When({ at, text }) {
  const when = new Date(at);
  if (Number.isNaN(when.getTime())) return html`<span>–</span>`;
  return html`<time datetime=${when.toISOString()} title="${utc(when)} · ${zone(when)}">${text ?? localTime(when)}</time>`;
}

/**
 * What somebody has called a camera, a key, …: its letters change the order of nothing around it, and
 * a long one takes two lines. @param {{children: string}} props
 */
export function Name({ children: name }) {
  return html`<bdi class="name" title=${name}>${name}</bdi>`;
}

/** A sentence whose commands stand between backticks, as the service writes them. @param {{text: string}} props */
export function Words({ text }) {
  return text.split(/`([^`]+)`/).map((part, index) => (index % 2 ? html`<code>${part}</code>` : part));
}

/** Why something failed. @param {{text: string|null}} props */
export function Failure({ text }) {
  return html`<div role="alert">${text && html`<p class="failure"><${Words} text=${text} /></p>`}</div>`;
}

/** That more recordings may be found, while the service looks for them. @param {{store: any}} props */
export function Searching({ store }) {
  return html`<div role="status">${store.searching && html`
    <p class="card">The service still looks for recordings in its folder, as after each start. What it finds appears here by itself.</p>`}</div>`;
}

/** A dialog over the page; Escape closes it. @param {{title: string, onClose: () => void, children: any}} props */
export function Dialog({ title, onClose, children: content }) {
  const ref = useRef(null);
  useEffect(() => {
    const before = document.activeElement;
    ref.current.showModal();
    return () => before?.focus?.();
  }, []);
  return html`
    <dialog ref=${ref} aria-label=${title} onClose=${onClose} onClick=${(event) => event.target === ref.current && onClose()}>
      <h2>${title}</h2>
      ${content}
    </dialog>`;
}

/** Ask before something that cannot be undone. */
export function Confirm({ title, text, action, onConfirm, onClose }) {
  return html`
    <${Dialog} title=${title} onClose=${onClose}>
      <p>${text}</p>
      <div class="row">
        <button onClick=${onClose}>Keep</button>
        <button class="danger" onClick=${() => { onClose(); onConfirm(); }}>${action}</button>
      </div>
    <//>`;
}

/**
 * A field for an instant. What somebody types stays as it is while the field has the focus, however
 * often the page draws another instant meanwhile. An instant whose local time exists twice has a
 * button for the other one.
 * @param {{label: string, at: number|null, onChange: (at: number) => void}} props
 */
export function InstantField({ label, at, onChange }) {
  const [typed, type] = useState(null);
  const change = ({ target }) => {
    if (target === document.activeElement) type(target.value);
    const when = fieldTime(target.value);
    if (when) onChange(when.getTime());
  };
  const other = at === null ? null : twin(new Date(at));
  return html`
    <label class="instant">${label}
      <input type="datetime-local" step="1" value=${typed ?? (at === null ? '' : fieldValue(new Date(at)))}
        onFocus=${({ target }) => type(target.value)} onInput=${change} onBlur=${() => type(null)} />
    </label>
    ${other && html`<button title="Clocks were set back: this time was twice" onClick=${() => onChange(other.getTime())}>${zoneOf(other)} instead of ${zoneOf(new Date(at))}</button>`}`;
}

/** A menu of the cameras. @param {{store: any, value: string, onChange: (id: string) => void, all?: boolean}} props */
export function CameraChoice({ store, value, onChange, all = true }) {
  return html`
    <label>Camera
      <select value=${value} onChange=${(event) => onChange(event.target.value)}>
        ${all && html`<option value="">All cameras</option>`}
        ${[...store.cameras.values()].map((camera) => html`
          <option key=${camera.camera_id} value=${camera.camera_id} selected=${camera.camera_id === value}>${camera.name}</option>`)}
      </select>
    </label>`;
}
