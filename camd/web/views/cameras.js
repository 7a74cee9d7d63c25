/** The grid of cameras, and the keys that act on the chosen one. */

import { html, useEffect, useRef, useState } from '../lib/preact.js';
import { useKeys } from '../lib/hooks.js';
import { moveFullScreen } from '../lib/full_screen.js';
import { useSilenceAfter } from '../lib/sound.js';
import { Tile } from './tile.js';

const MOST_VIDEOS = 9; // further tiles show stills
const NARROWEST = 256; // pixels of a tile, where there is room for more than one beside the other
const MOST_COLUMNS = 6;
const BESIDE_PICTURE = 160; // pixels of a tile's height that are not its picture

/** The fewest columns with which all tiles are in the window, or as many as are wide enough. */
export function columnsFor(count, width, height) {
  const most = Math.max(1, Math.min(count, MOST_COLUMNS, Math.floor(width / NARROWEST)));
  for (let columns = 1; columns < most; columns += 1) {
    const tile = (width / columns) * 9 / 16 + BESIDE_PICTURE;
    if (Math.ceil(count / columns) * tile <= height) return columns;
  }
  return most;
}

/** @param {{store: any, rest: string[]}} props */
export function Cameras({ store }) {
  const cameras = [...store.cameras.values()];
  const grid = useRef(null);
  const [chosen, choose] = useState(0);
  useSilenceAfter();

  const focus = (index) => {
    if (index < 0 || index >= cameras.length) return false;
    choose(index);
    const tile = grid.current.querySelectorAll('.tile')[index];
    tile.focus();
    moveFullScreen(tile);
    return true;
  };
  const press = (name) => {
    grid.current.querySelectorAll('.tile')[chosen]?.querySelector(`[data-key="${name}"]`)?.click();
    return true;
  };
  useKeys((key) => {
    if (/^[1-9]$/.test(key)) return focus(Number(key) - 1);
    const columns = getComputedStyle(grid.current).gridTemplateColumns.split(' ').length;
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[key];
    if (step) return focus(chosen + step);
    return 'rsfm'.includes(key) && press(key);
  });
  useEffect(() => {
    const fit = () => {
      const { top, width } = grid.current.getBoundingClientRect();
      const height = window.innerHeight - Math.max(0, top + window.scrollY);
      grid.current.style.setProperty('--columns', columnsFor(cameras.length, width, height));
    };
    fit();
    const observer = new ResizeObserver(fit);
    observer.observe(grid.current);
    window.addEventListener('resize', fit);
    return () => {
      observer.disconnect();
      window.removeEventListener('resize', fit);
    };
  }, [cameras.length]);

  if (cameras.length === 0) {
    return html`
      <div class="plain stack" ref=${grid}>
        <h2>No cameras yet</h2>
        <p>Plug in a USB camera: it appears here by itself.</p>
        <p>A network camera needs an entry in the configuration, with its address: <code>[[camera]]</code> and <code>source = "rtsp://…"</code>.</p>
        <p><code>camd check</code> tells what keeps a camera from being used.</p>
      </div>`;
  }
  return html`
    <div class="tiles" ref=${grid} role="list" aria-label="Cameras">
      ${cameras.map((camera, index) => html`
        <div role="listitem" key=${camera.camera_id}>
          <${Tile} store=${store} camera=${camera} number=${index + 1} asVideo=${index < MOST_VIDEOS}
            chosen=${index === chosen} onChoose=${() => choose(index)} />
        </div>`)}
    </div>`;
}
