// @ts-check
/** Shows key frames one after the other, faster than a decoder could, or backwards. */

import { UnreachableError, reached } from "./piece_buffer.js";

const TILES = 20; // in one strip
const TILE_MS = 200; // for which a tile is shown
const WIDTH = 320;
const AGAIN_MS = 1000; // when the service was not reached

export class Shuttle {
  /**
   * @param {HTMLVideoElement} video  the tiles are drawn over it
   * @param {string} base  `/play/{camera}`
   * @param {{onTile: (wallMs: number) => void, onEnd: (wallMs: number) => void,
   *   onError: (error: any) => void, onUnreachable: (error: Error) => void,
   *   footage: (wallMs: number, rate: number) => Promise<number | null>}} player  `footage`: where it
   *   goes on from an instant that has none, null: nowhere
   */
  constructor(video, base, player) {
    this.video = video;
    this.base = base;
    this.player = player;
    this.wall = NaN;
    this.runs = 0;
    /** @type {HTMLCanvasElement | null} */ this.canvas = null;
  }

  get active() {
    return this.canvas !== null;
  }

  /** Begin at an instant; `rate` is negative for backwards. */
  start(wallMs, rate) {
    this.stop();
    this.wall = wallMs;
    this.canvas = document.createElement("canvas");
    this.canvas.className = "shuttle";
    Object.assign(this.canvas.style, { position: "absolute", objectFit: "contain" });
    this.video.insertAdjacentElement("afterend", this.canvas);
    const run = ++this.runs;
    this.run(run, rate).catch((error) => run === this.runs && this.player.onError(error));
  }

  stop() {
    this.runs++;
    this.canvas?.remove();
    this.canvas = null;
  }

  async run(run, rate) {
    let next = this.fetchStrip(this.wall, rate);
    while (run === this.runs) {
      const strip = await next.catch((error) => this.notReached(error));
      if (run !== this.runs) return;
      if (!strip) {
        next = this.fetchStrip(this.wall, rate);
        continue;
      }
      let wall = this.wall + TILES * TILE_MS * rate;
      if (!strip.times.length) {
        const there = await this.player.footage(wall, rate).catch((error) => this.notReached(error));
        if (run !== this.runs) return;
        if (there === undefined) continue; // the same strip once more
        if (there === null) return this.player.onEnd(this.wall);
        wall = there;
      }
      next = this.fetchStrip(wall, rate); // while this one is shown
      next.catch(() => {});
      await this.show(run, strip, wall, rate);
    }
  }

  /** Say that the service was not reached, and wait for a moment. Throws any other error. */
  async notReached(error) {
    if (!(error instanceof UnreachableError)) throw error;
    this.player.onUnreachable(error);
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
  }

  /** Show the tiles of a strip, each at its time; what is missing is passed over in a moment. */
  async show(run, strip, end, rate) {
    const tiles = strip.times.map((time, number) => ({ time, number }));
    for (const tile of rate < 0 ? tiles.reverse() : tiles) {
      if (run !== this.runs) return;
      this.wall = tile.time;
      this.draw(strip, tile.number);
      this.player.onTile(tile.time);
      await new Promise((resolve) => setTimeout(resolve, TILE_MS));
    }
    if (!tiles.length) await new Promise((resolve) => setTimeout(resolve, TILE_MS));
    if (run === this.runs) this.wall = end;
  }

  draw({ image, times }, number) {
    const { canvas, video } = this;
    if (!canvas) return;
    const width = image.width / times.length;
    Object.assign(canvas, { width, height: image.height });
    Object.assign(canvas.style, {
      left: `${video.offsetLeft}px`,
      top: `${video.offsetTop}px`,
      width: `${video.offsetWidth}px`,
      height: `${video.offsetHeight}px`,
    });
    const part = [number * width, 0, width, image.height, 0, 0, width, image.height];
    canvas.getContext("2d")?.drawImage(image, ...part);
  }

  /** @returns {Promise<{image: any, times: number[]}>} without times where nothing was recorded */
  async fetchStrip(wallMs, rate) {
    const over = wallMs + TILES * TILE_MS * rate;
    const [since, until] = [Math.min(wallMs, over), Math.max(wallMs, over)];
    const times = [since, until].map((each) => encodeURIComponent(new Date(each).toISOString()));
    const query = `from=${times[0]}&to=${times[1]}&count=${TILES}&width=${WIDTH}`;
    const answer = await reached(fetch(`${this.base}/strip.jpg?${query}`));
    if (!answer.ok) return { image: null, times: [] };
    const taken = (answer.headers.get("X-Tile-Times") || "").split(",");
    const image = await createImageBitmap(await reached(answer.blob()));
    return { image, times: taken.map((time) => Date.parse(time)) };
  }
}
