/** JSON-RPC over one WebSocket that is made again when it is lost. */

import { pauseAfter } from './pause.js';

const PING_MS = 1000;
const SILENT_MS = 1500; // an unanswered ping that old: the connection counts as lost
const WATCH_MS = 250;
const BUSY_MS = 1000; // between two looks: the page was busy, and answers may wait to be read
const GIVE_UP_MS = 6000; // then it is made anew
const LONGEST_PAUSE_MS = 3000;
const NOT_AUTHENTICATED = -32001;

/** A refused call; `code` is 0 when the connection was lost. */
export class CallError extends Error {
  /** @param {number} code @param {string} message @param {Record<string, any>} data */
  constructor(code, message, data = {}) {
    super(message);
    this.code = code;
    this.data = data;
  }

  /** The message, and what to do. */
  get text() {
    const { suggestion } = this.data;
    return suggestion ? `${sentence(this.message)} ${suggestion}` : sentence(this.message);
  }
}

const sentence = (text) => (/[.!?]$/.test(text) ? text : `${text}.`);

/**
 * @typedef {'connecting'|'open'|'silent'|'lost'|'refused'} ConnectionState
 * @typedef {{url: string, onState: (state: ConnectionState) => void,
 *   onOpen: () => Promise<void>, onNotification: (method: string, params: any) => void}} Options
 */
export class Connection {
  /** @param {Options} options */
  constructor(options) {
    this.options = options;
    this.state = 'connecting';
    this.waiting = new Map();
    this.number = 0;
    this.failures = 0;
    this.dropped = null; // since when an open connection is made anew
    this.doubted = false; // whether it may have ended while the page or the machine stood still
    this.pinged = 0;
    this.closed = false;
    this.watched = performance.now();
    this.timer = setInterval(() => this.watch(), WATCH_MS);
    this.wake = () => this.watch(true);
    document.addEventListener('visibilitychange', this.wake);
    this.connect();
  }

  connect() {
    this.retry = undefined;
    this.pinged = 0;
    this.began = performance.now();
    const socket = new WebSocket(this.options.url);
    this.socket = socket;
    socket.onopen = () => this.opened(socket);
    socket.onmessage = (event) => this.receive(socket, event.data);
    socket.onclose = () => this.lose(socket);
  }

  async opened(socket) {
    try {
      await this.options.onOpen();
      if (socket !== this.socket) return;
      this.failures = 0;
      this.dropped = null;
      this.nextPing = performance.now() + PING_MS;
      this.change('open');
    } catch (error) {
      if (error.code === NOT_AUTHENTICATED) this.refuse();
      else socket.close();
    }
  }

  /**
   * Make one call. Rejects with CallError.
   * @param {string} method @param {Record<string, any>} params @returns {Promise<any>}
   */
  call(method, params = {}) {
    return new Promise((resolve, reject) => {
      if (this.socket.readyState !== WebSocket.OPEN) {
        reject(new CallError(0, 'There is no connection to the service at present'));
        return;
      }
      const id = ++this.number;
      this.waiting.set(id, { resolve, reject });
      this.socket.send(JSON.stringify({ jsonrpc: '2.0', id, method, params }));
    });
  }

  receive(socket, text) {
    if (socket !== this.socket) return;
    const message = JSON.parse(text);
    if (message.method !== undefined) {
      this.options.onNotification(message.method, message.params ?? {});
      return;
    }
    const call = this.waiting.get(message.id);
    this.waiting.delete(message.id);
    if (message.error) {
      const { code, message: words, data } = message.error;
      call?.reject(new CallError(code, words, data ?? {}));
      if (code === NOT_AUTHENTICATED && this.state === 'open') this.refuse();
    } else {
      call?.resolve(message.result);
    }
  }

  /** Send pings, and notice when one is not answered. A hidden page's timers are late: no alarm. */
  watch(visible = !document.hidden) {
    if (!visible || this.closed) return;
    const now = performance.now();
    const absent = now - this.watched;
    this.watched = now;
    if (absent > BUSY_MS) {
      this.askAnew(now, absent);
      return;
    }
    if (this.retry !== undefined || this.socket.readyState === WebSocket.CONNECTING) {
      if (this.dropped !== null && now - this.dropped > SILENT_MS) this.change('lost');
      if (this.retry === undefined && now - this.began > GIVE_UP_MS) this.lose(this.socket);
      return;
    }
    if (this.pinged && now - this.pinged > (this.doubted ? SILENT_MS : GIVE_UP_MS)) this.lose(this.socket);
    else if (this.pinged && now - this.pinged > SILENT_MS) this.change('silent');
    else if (!this.pinged && now >= (this.nextPing ?? Infinity)) this.ping(now);
  }

  /** What was not answered while the page stood still may be answered now. */
  askAnew(now, absent) {
    this.doubted ||= absent > GIVE_UP_MS;
    if (this.pinged) this.pinged = now;
    else if (this.nextPing !== undefined) this.nextPing = now;
  }

  async ping(now) {
    this.pinged = now;
    const socket = this.socket;
    try {
      await this.call('ping');
    } catch {
      return; // `lose` or `refuse` has said so
    }
    if (socket !== this.socket) return;
    this.pinged = 0;
    this.doubted = false;
    this.nextPing = performance.now() + PING_MS;
    if (this.state === 'silent') this.change('open');
  }

  /** Make it anew. One that was open may be so again at once; it counts as lost when it is not. */
  lose(socket) {
    if (socket !== this.socket || this.closed || this.retry !== undefined) return;
    this.drop(socket);
    this.doubted = false;
    this.retry = setTimeout(() => this.connect(), pauseAfter(this.failures, LONGEST_PAUSE_MS));
    this.failures += 1;
    if (this.state === 'open') this.dropped = performance.now();
    this.change(this.state === 'open' ? 'connecting' : 'lost');
  }

  refuse() {
    this.close();
    this.change('refused');
  }

  close() {
    this.closed = true;
    clearInterval(this.timer);
    clearTimeout(this.retry);
    document.removeEventListener('visibilitychange', this.wake);
    this.drop(this.socket);
  }

  drop(socket) {
    socket.onopen = null;
    socket.onmessage = null;
    socket.onclose = null;
    socket.close();
    for (const { reject } of this.waiting.values()) {
      reject(new CallError(0, 'The connection to the service was lost'));
    }
    this.waiting.clear();
  }

  change(state) {
    if (state === this.state) return;
    this.state = state;
    this.options.onState(state);
  }
}
