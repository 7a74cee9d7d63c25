// @ts-check
/**
 * Live view of one camera in a video element, over the WebSocket `/live/{camera}` (camd.live.1).
 *
 * The parent of the element has its size and a CSS position: pictures of MJPEG cameras, and the last
 * picture while the stream begins anew, are drawn into a canvas that lies over it.
 *
 * @typedef {"connecting" | "playing" | "late" | "ended" | "lost" | "refused" | "unplayable"} Phase
 * @typedef {{phase: Phase, message: string, suggestion: string, shownAs: string,
 *   hasSound: boolean, isSilent: boolean, soundRefused: boolean}} LiveState
 *   `shownAs`: "" for the camera's own stream, else preview, transcode or stills, and the message
 *   says why. `soundRefused`: the browser has muted the element, which was not muted.
 *   `isSilent`: sound is wanted, and none comes.
 * @typedef {{kind: string, path: string}} Way
 * @typedef {{mime: string, mime_with_sound: string | null, codec: string, wall: string, media: number, supported_as: Way[],
 *   sound: "none" | "sent" | "left_out" | "silent"}} Init
 */

import { pauseAfter } from "../lib/pause.js";
import { Overlay, PictureScreen, VideoScreen, mediaSource } from "./screens.js";

const SUBPROTOCOL = "camd.live.1";
const HIDDEN_MS = 10_000;
const RESUMED_MS = 5_000; // within which something comes after that, or the connection has ended meanwhile
const LATE_MS = 3_000; // without a picture
const SILENT_MS = 15_000; // then the connection is made anew
const LONGEST_PAUSE_MS = 10_000;
const CODECS = { avc1: "H.264", avc3: "H.264", hvc1: "H.265", hev1: "H.265" };
const WAYS = {
  preview: "this is the camera's second stream",
  transcode: "the service converts it",
  stills: "this is one picture a second",
};
const TOO_SLOW = "The connection is too slow for this camera";
const WATCHED = new Set(["playing", "late"]); // phases in which a stream comes, or came just now
const ONLINE_MS = 1_000; // without anything, when the network is there again

/**
 * Show a camera until `close` is called. `wallMs` is the time of the picture that is shown, in
 * milliseconds since 1970; null without one. While the element is muted, sound is not asked for:
 * pictures come sooner without; the stream begins anew when that changes.
 *
 * @param {HTMLVideoElement} video
 * @param {{url: string, token?: string, onState?: (state: LiveState) => void,
 *          notice?: HTMLElement, hiddenMs?: number}} options
 *   `url` may be a path. `token` is not needed with a session's cookie. `notice` gets the sentence
 *   of each state as its text. After `hiddenMs` on a hidden page, nothing is sent any more.
 * @returns {{close(): void, wallMs(): number | null}}
 */
export function watch(video, options) {
  const player = new Player(video, options);
  return { close: () => player.close(), wallMs: () => player.wallMs() };
}

class Player {
  constructor(video, { url, token = "", onState = () => {}, notice = null, hiddenMs = HIDDEN_MS }) {
    Object.assign(this, { video, token, onState, notice, hiddenMs });
    this.url = socketUrl(url, location.href);
    /** @type {Way | null} */ this.way = null;
    /** @type {Way[] | null} */ this.ways = null; // that are left, where the own stream fails
    /** @type {Screen | null} */ this.screen = null;
    /** @type {Init | null} */ this.init = null;
    this.failures = this.resumed = 0;
    this.why = this.soundless = ""; // why not the own stream is shown, and why no sound is asked for
    this.overlay = new Overlay(video);
    this.ended = this.refused = false;
    this.onVisible = () => this.follow(document.visibilityState === "hidden");
    document.addEventListener("visibilitychange", this.onVisible);
    this.onOnline = () => this.hurry(ONLINE_MS);
    window.addEventListener("online", this.onOnline);
    this.onVolume = () => this.followVolume();
    video.addEventListener("volumechange", this.onVolume);
    this.ticker = setInterval(() => this.tick(), 500);
    this.connect();
  }

  connect() {
    this.say("connecting", "Connecting");
    this.open();
  }

  open() {
    this.heard = performance.now();
    this.asked = this.wantsSound();
    const url = socketUrl(this.way?.path ?? this.url, this.url, this.asked ? {} : { sound: "off" });
    const socket = (this.socket = new WebSocket(url, SUBPROTOCOL));
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      if (this.token) this.send({ auth_token: this.token });
      if (this.hidden) this.send({ type: "pause" });
    };
    socket.onmessage = ({ data }) => this.take(data);
    socket.onclose = ({ code, reason }) => this.lost(code, reason);
  }

  send(message) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  take(data) {
    this.heard = performance.now();
    if (typeof data !== "string") return this.screen?.append(data);
    const message = JSON.parse(data);
    if (message.type === "init") this.begin(message);
    else if (message.type === "clock") Object.assign(this.init ?? {}, message);
    else if (message.type === "ended") {
      this.ended = true;
      this.say("ended", message.message, message.suggestion);
    }
  }

  /** Begin a stream, or look for another way to watch. @param {Init} init */
  begin(init) {
    this.init = init;
    this.soundless = unheardSound(init);
    if (init.sound !== "none" && this.wantsSound() !== this.asked) return this.openAnew();
    this.tell({ hasSound: init.sound !== "none" && !this.soundless, isSilent: init.sound === "silent" });
    this.began = performance.now();
    this.ended = this.cut = false;
    this.overlay.keep();
    this.screen?.close();
    const events = {
      shown: () => this.shown(),
      failed: (why) => this.anew(why),
      muted: () => this.tell({ soundRefused: (this.refused = true) }),
      streaming: (wanted) => this.send({ type: wanted ? "resume" : "pause" }),
    };
    if (init.mime === "image/jpeg") this.screen = new PictureScreen(this.overlay, events);
    else if (plays(init.mime))
      this.screen = new VideoScreen(this.video, init.mime, init.sound === "sent", this.overlay, events);
    else this.tryOtherWay(init);
  }

  /** Whether sound is asked for: somebody wants to hear it, and the browser can play it. */
  wantsSound() {
    return !this.video.muted && !this.soundless;
  }

  /** With sound or without, as is wanted now; the picture stays meanwhile. */
  openAnew() {
    this.stop();
    this.open();
  }

  /** The browser cannot play this. @param {Init} init */
  tryOtherWay(init) {
    this.screen = null;
    this.ways ??= [...init.supported_as];
    this.why ||= `This browser cannot play ${CODECS[init.codec] ?? init.mime}`;
    this.stop();
    if (this.takeNextWay()) this.connect();
    else this.say("unplayable", this.why, "Use another browser, or record in H.264.");
  }

  takeNextWay() {
    const next = this.ways?.shift();
    if (next) this.way = next;
    return next !== undefined;
  }

  shown() {
    if (this.cut || this.lateness()) return;
    this.failures = 0;
    const words = this.way ? `${this.why}: ${WAYS[this.way.kind]}` : this.soundless;
    if (this.ended || (this.phase === "playing" && this.state.message === words)) return;
    this.say("playing", words);
    this.followVolume();
  }

  /** The socket was closed by the other side. */
  lost(code, reason) {
    this.cut = true; // what is shown from now on had come before
    if (code === 1008 && /^(authentication failed|not authenticated)/i.test(reason)) {
      return this.say("refused", reason, "Sign in again.");
    }
    if ((code === 1008 || code === 1013) && this.way && this.takeNextWay()) return this.connect();
    if (!this.ended) this.say("lost", reason || "The connection is lost", "It is tried again.");
    this.again = setTimeout(() => this.connect(), pauseAfter(this.failures, LONGEST_PAUSE_MS));
    this.failures += code === 1000 || code === 1013 ? 10 : 1;
  }

  /** Begin everything anew, at once for the first time. */
  anew(why) {
    this.stop();
    this.overlay.keep();
    this.screen?.close();
    this.screen = null;
    this.ended = false;
    this.lost(0, why);
  }

  stop() {
    clearTimeout(this.again);
    this.socket.onopen = this.socket.onmessage = this.socket.onclose = null;
    this.socket.close();
  }

  tick() {
    const silent = performance.now() - this.heard;
    const watched = !this.hidden && !this.ended && this.socket.readyState === WebSocket.OPEN;
    if (watched && silent > SILENT_MS) this.anew("Nothing has come for some time");
    else if (watched && this.phase === "playing") {
      const why = this.lateness();
      if (why) this.say("late", why);
    }
  }

  /** Why the newest picture is old, also where sound goes on to come; "": it is not. */
  lateness() {
    const { waits, behind } = this.screen?.lag() ?? { waits: 0, behind: 0 };
    const since = performance.now() - this.resumed;
    if (Math.min(waits * 1000, since) > LATE_MS) return "Nothing new comes: this picture is old";
    return behind * 1000 > LATE_MS ? `${TOO_SLOW}: this picture is old` : "";
  }

  follow(hidden) {
    clearTimeout(this.hiding);
    if (hidden && this.video.muted) this.hiding = setTimeout(() => this.pause(true), this.hiddenMs);
    else {
      this.hurry(LATE_MS);
      this.pause(false);
      this.screen?.resume();
    }
  }

  /** Connect at once where that is waited for, or where nothing has come for some time. */
  hurry(silentMs) {
    if (this.phase === "refused" || this.phase === "unplayable") return;
    const open = this.socket.readyState === WebSocket.OPEN;
    const silent = !this.hidden && !this.ended && performance.now() - this.heard > silentMs;
    if (open && !silent) return;
    if (this.socket.readyState === WebSocket.CONNECTING && !silent) return;
    this.stop();
    this.failures = 0;
    this.connect();
  }

  /** Ask for sound, or for none, where that has changed; the picture stays meanwhile. */
  followVolume() {
    if (!this.video.muted && this.refused) this.tell({ soundRefused: (this.refused = false) });
    const changes = this.wantsSound() !== this.asked && (this.init?.sound ?? "none") !== "none";
    if (changes && WATCHED.has(this.phase)) this.openAnew();
  }

  pause(hidden) {
    if (Boolean(this.hidden) === hidden) return;
    this.hidden = hidden;
    this.resumed = performance.now();
    this.heard = this.resumed - (SILENT_MS - RESUMED_MS);
    this.send({ type: hidden ? "pause" : "resume" });
  }

  wallMs() {
    if (!this.init || !this.screen) return null;
    const since = this.screen.shownSeconds(this.init.media, this.began);
    return Date.parse(this.init.wall) + since * 1000;
  }

  say(phase, message, suggestion = "") {
    this.phase = phase;
    if (this.notice) this.notice.textContent = [message, suggestion].filter(Boolean).join(". ");
    this.tell({ phase, message, suggestion, shownAs: this.way?.kind ?? "" });
  }

  /** @param {Partial<LiveState>} change */
  tell(change) {
    this.state = { hasSound: false, isSilent: false, soundRefused: false, ...this.state, ...change };
    this.onState(this.state);
  }

  close() {
    this.stop();
    clearInterval(this.ticker);
    clearTimeout(this.hiding);
    document.removeEventListener("visibilitychange", this.onVisible);
    window.removeEventListener("online", this.onOnline);
    this.video.removeEventListener("volumechange", this.onVolume);
    this.screen?.close();
    this.overlay.remove();
  }
}

const plays = (mime) => Boolean(mediaSource()?.isTypeSupported(mime));

/** The type without the codec of its sound, which is the second one. */
const withoutSound = (mime) => mime.replace(/,[^"]*/, "");

/** Why the sound of a stream is not heard, whose pictures the browser plays; "": it is. @param {Init} init */
function unheardSound({ mime_with_sound: whole }) {
  if (!whole || plays(whole) || !plays(withoutSound(whole))) return "";
  return `This browser cannot play the sound of this camera (${/,([^"]*)/.exec(whole)?.[1]})`;
}

/** @param {Record<string, string>} fields of its query */
function socketUrl(address, base, fields = {}) {
  const url = new URL(address, base);
  url.protocol = url.protocol.replace("http", "ws");
  for (const [name, value] of Object.entries(fields)) url.searchParams.set(name, value);
  return url.href;
}
