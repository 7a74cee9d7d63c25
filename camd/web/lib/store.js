/**
 * The state of the page: what the service has told, by answers when the connection opens and by
 * notifications from then on. Nothing is asked for again by a timer.
 *
 * @typedef {{seq: number, time: Date, method: string, params: Record<string, any>}} ShownEvent
 */

import { Connection } from './rpc.js';

const MOST_EVENTS = 500;
const FIRST_EVENTS = 200;
const INVALID_PARAMS = -32602;

export class Store {
  /** @param {import('./session.js').Session} session @param {() => void} onSignedOut */
  constructor(session, onSignedOut) {
    this.session = session;
    this.cameras = new Map();
    this.storage = null;
    this.events = [];
    this.damage = [];
    this.connection = 'connecting';
    this.lastSeq = null;
    this.changedRecordings = 0; // increases with every file that begins, ends, or is found
    this.searching = false; // whether the service still looks for recordings in its folder
    this.searched = 0; // increases while it does
    this.listeners = new Set();
    const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
    this.rpc = new Connection({
      url: `${scheme}://${location.host}${session.websocket}`,
      onOpen: () => this.load(),
      onNotification: (method, params) => this.take(method, params),
      onState: (state) => {
        if (state === 'refused') onSignedOut();
        this.set({ connection: state });
      },
    });
  }

  /** Whether the person may do what needs this role. @param {'control'|'admin'} permission */
  may(permission) {
    return this.session.permissions.includes(permission);
  }

  /** @param {string} method @param {Record<string, any>} params */
  call(method, params) {
    return this.rpc.call(method, params);
  }

  /** @param {() => void} listener @returns {() => void} what ends it */
  subscribe(listener) {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  set(patch) {
    Object.assign(this, patch);
    for (const listener of this.listeners) listener();
  }

  /** Subscribe, with what was missed since the last connection; then load the state. */
  async load() {
    if (this.lastSeq === null) {
      const { events, newest } = await this.call('get_events', { limit: FIRST_EVENTS });
      for (const { method, params } of events) this.log(method, params);
      this.lastSeq = newest;
    }
    await this.follow();
    await Promise.all([this.loadStorage(), this.loadSearch(), this.loadCameras()]);
    this.set({ changedRecordings: this.changedRecordings + 1 });
  }

  /** Load the cameras; also when a picture ends, because its camera may have been removed. */
  async loadCameras() {
    const { cameras } = await this.call('get_camera_list');
    const before = this.cameras;
    this.cameras = new Map([...before].filter(([id]) => cameras.some((camera) => camera.camera_id === id)));
    for (const camera of cameras) this.putCamera(camera);
    this.set({});
  }

  async follow() {
    try {
      await this.call('subscribe_events', { since: this.lastSeq });
    } catch (error) {
      if (error.code !== INVALID_PARAMS) throw error;
      this.lastSeq = null; // the numbers of the service began anew
      await this.call('subscribe_events', {});
    }
  }

  /** Only administrators may ask for all of it; others get the rest with its notifications. */
  async loadStorage() {
    if (this.may('admin')) return this.set({ storage: await this.call('get_storage_info') });
    const told = await (await fetch('/health/storage')).json();
    return this.set({ storage: { ...told, ...this.storage } });
  }

  /** Whether the service still looks for recordings, which notifications say from then on. */
  async loadSearch() {
    const { recovery } = await this.call('get_system_status');
    this.set({ searching: !recovery?.ended, searched: this.searched + 1 });
  }

  take(method, params) {
    if (typeof params.seq === 'number') {
      if (this.lastSeq !== null && params.seq <= this.lastSeq && method !== 'events_missed') return;
      this.lastSeq = params.seq;
    }
    this.log(method, params);
    if (method === 'camera_status_update') {
      this.putCamera(params);
      if (params.state === 'ABSENT') this.loadCameras().catch(() => {}); // it may have been removed
    }
    if (method === 'recording_status_update') this.putRecording(params);
    if (method === 'storage_status_update') this.storage = params;
    if (method === 'recovery_update') {
      this.searching = params.status !== 'ENDED';
      this.searched += 1;
      this.changedRecordings += 1;
    }
    if (method === 'scrub_update') this.damage = [...this.damage.filter((each) => each.filename !== params.filename), params];
    this.set({});
  }

  putCamera(camera) {
    const before = this.cameras.get(camera.camera_id);
    const since = camera.recording ? Date.now() - camera.elapsed_time * 1000 : null;
    const kept = before?.recording_session === camera.recording_session ? before?.since : null;
    const problem = 'message' in camera ? {} : { cause: null, message: null, suggestion: null };
    this.cameras.set(camera.camera_id, { ...before, ...problem, ...camera, since: kept ?? since });
    this.cameras = new Map([...this.cameras].sort(([one], [other]) => one.localeCompare(other, undefined, { numeric: true })));
  }

  putRecording(params) {
    const camera = this.cameras.get(params.camera_id);
    if (params.status !== 'PROGRESS') this.changedRecordings += 1;
    if (!camera) return;
    const since = params.status === 'STOPPED' ? null : Date.parse(params.start_time);
    const { bytes_written: written, file_size } = params;
    this.cameras.set(params.camera_id, { ...camera, since: camera.recording ? since : camera.since, written, file_size });
  }

  /** Keep an event for the list, without those that only count. */
  log(method, params) {
    if (params.status === 'PROGRESS' || (method === 'recovery_update' && !params.total)) return;
    if (method === 'camera_status_update' && !this.isChange(params)) return;
    const event = { seq: params.seq, time: new Date(params.time), method, params };
    this.events = [event, ...this.events].slice(0, MOST_EVENTS);
  }

  isChange(params) {
    const quiet = params.status === 'CONNECTED' && !params.message; // so a camera also is while it is tried again
    const same = (other) => (other.message ?? other.status) === (params.message ?? params.status);
    const before = this.events.find(({ method, params: other }) => method === 'camera_status_update' && other.camera_id === params.camera_id);
    return before === undefined ? Boolean(params.message) || params.status !== 'CONNECTED' : !same(before.params) && (!quiet || params.state === 'STREAMING' || before.params.status === 'DISCONNECTED');
  }

  close() {
    this.rpc.close();
  }
}
