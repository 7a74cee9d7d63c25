/** What the fields of the service mean, in words. */

import { count, dayAndMinute, duration, isolated, size } from './format.js';

const STATES = {
  IDLE: 'Ready',
  STARTING: 'Starting',
  STREAMING: 'Running',
  STOPPING: 'Stopping',
  RESTING: 'Tries again soon',
  ABSENT: 'Not connected',
  FAULTED: 'Restarts after a fault',
};

/** @param {Record<string, any>} camera */
export function cameraState(camera) {
  if (camera.message && camera.state !== 'STREAMING' && !camera.recording) return camera.state === 'ABSENT' ? STATES.ABSENT : 'Does not work';
  if (camera.recording) return camera.recording_healthy ? 'Recording' : 'Recording is interrupted';
  return STATES[camera.state] ?? camera.state;
}

/** Whether something is wrong with a camera. @param {Record<string, any>} camera */
export function inTrouble(camera) {
  return Boolean(camera.message) || camera.status !== 'CONNECTED' || (camera.recording && !camera.recording_healthy);
}

/** Why a camera does not work, and what to do. @param {Record<string, any>} camera */
export function cameraProblem(camera) {
  if (camera.message) return { message: sentence(camera.message), suggestion: camera.suggestion ?? '' };
  if (camera.recording && !camera.recording_healthy) {
    return { message: 'The recording does not reach the disk at present.', suggestion: 'The view Storage says what the disk does.' };
  }
  if (camera.status === 'DISCONNECTED') {
    return { message: 'The camera is not connected.', suggestion: 'Plug it in, or switch it on; it comes back by itself.' };
  }
  return { message: `The camera does not work (${cameraState(camera).toLowerCase()}).`, suggestion: '' };
}

export const sentence = (text) => (/[.!?]$/.test(text) ? text : `${text}.`);

/** Each cause of the gap ledger: its words, and the pattern that shows it on the timeline. */
const CAUSES = {
  camera_lost: ['the camera was unplugged, or its stream ended', 'camera'],
  camera_stalled: ['the camera sent nothing', 'camera'],
  camera_hung: ['FFmpeg could not be ended', 'camera'],
  camera_error: ['the camera reported an error', 'camera'],
  camera_busy: ['another program used the camera', 'access'],
  camera_swapped: ['another camera was in its place', 'access'],
  no_permission: ['the service may not open the camera', 'access'],
  no_bandwidth: ['the USB bus had no bandwidth left', 'access'],
  unsupported_format: ['the format cannot be recorded', 'access'],
  source_unreachable: ['the camera could not be reached', 'network'],
  encoder_exit: ['FFmpeg ended', 'service'],
  storage_slow: ['the disk was too slow', 'storage'],
  storage_full: ['the disk was full', 'storage'],
  storage_error: ['the disk failed', 'storage'],
  file_removed: ['another program removed the file', 'storage'],
  daemon_down: ['the service did not run', 'service'],
  clock_step: ['the clock was set', 'clock'],
  frames_dropped_by_source: ['the camera dropped frames', 'network'],
};

/** The cause of a gap. @param {string} cause */
export const gapCause = (cause) => CAUSES[cause]?.[0] ?? cause.replaceAll('_', ' ');

/** The pattern that shows a cause: camera, access, network, service, storage, clock. */
export const gapPattern = (cause) => CAUSES[cause]?.[1] ?? 'camera';

const LEVELS = {
  normal: 'There is enough space.',
  warning: 'Space is low.',
  blocked: 'New recordings are refused: space is nearly used up.',
  critical: 'Recordings are paused: the disk is full.',
  missing: 'The recordings folder is not there.',
  read_only: 'The disk can only be read.',
  unresponsive: 'The disk does not answer.',
  no_inodes: 'Almost no new files can be created on the disk.',
  failing: 'Writing to the disk fails.',
};

/** @param {string} level */
export const storageLevel = (level) => LEVELS[level] ?? `Storage is ${level.replaceAll('_', ' ')}.`;

/** Levels at which the service says no more than the level itself. */
const SPACE = ['normal', 'warning', 'blocked', 'critical'];

/** What is wrong with the volume. @param {Record<string, any>} storage */
export const storageProblem = ({ threshold_status: level, message }) => (SPACE.includes(level) || !message ? storageLevel(level) : sentence(message));

const OVERRIDDEN = {
  manual_recording: 'a recording by hand takes its place',
  manual_stop: 'stopped by hand',
  source_ended: 'the source has ended',
};

/** What the schedule of a camera does now, and when that changes. @param {Record<string, any>} schedule */
export function scheduleWords({ name, active, next_change, overridden_by, message }) {
  if (message) return sentence(message);
  const change = next_change ? dayAndMinute(new Date(next_change)) : null;
  const schedule = `Schedule “${isolated(name)}”`;
  if (!active) return change ? `${schedule}: records from ${change}.` : `${schedule}: records no more.`;
  const until = change ? ` until ${change}` : '';
  if (overridden_by) return `${schedule}: ${OVERRIDDEN[overridden_by] ?? 'does not record'}${until && `,${until}`}.`;
  return `${schedule}: records${until}.`;
}

const ROLES = { viewer: 'may look', operator: 'may look and record', admin: 'may do everything' };

/** What a role allows. @param {string} role */
export const roleWords = (role) => ROLES[role] ?? role;

/**
 * What to know before a key is revoked.
 * @param {Record<string, any>} key @param {Record<string, any>[]} keys @param {import('./session.js').Session} session
 */
export function keyWarnings(key, keys, session) {
  const valid = (each) => !each.expires || new Date(each.expires) > new Date();
  const others = keys.filter((each) => each.role === 'admin' && each.name !== key.name && valid(each));
  const own = session.auth_method === 'api_key' && session.name === key.name;
  return [
    'Programs and browsers that use it are disconnected within seconds. It cannot be brought back.',
    own ? 'You are signed in with this key: you will be signed out.' : '',
    key.role === 'admin' && others.length === 0 ? 'It is the last key of an administrator: only “camd keys add” on the machine of the service makes another.' : '',
  ].filter(Boolean);
}

/** Everything that is wrong now, the worst first. @param {Record<string, any>} state */
export function problemsNow(state) {
  const found = [];
  const storage = state.storage;
  if (storage && storage.threshold_status !== 'normal') {
    found.push({
      key: 'storage',
      level: storage.threshold_status === 'warning' ? 'warning' : 'alarm',
      where: 'Storage',
      message: storageProblem(storage),
      suggestion: storage.suggestion ?? '',
    });
  }
  for (const camera of state.cameras.values()) {
    if (inTrouble(camera)) {
      found.push({ key: camera.camera_id, level: camera.status === 'DISCONNECTED' && !camera.recording ? 'warning' : 'alarm', where: camera.name, ...cameraProblem(camera) });
    }
    for (const text of camera.warnings ?? []) {
      found.push({ key: `${camera.camera_id} ${text}`, level: 'warning', where: camera.name, message: sentence(text), suggestion: '' });
    }
  }
  for (const damage of state.damage) {
    found.push({ key: `damage ${damage.filename}`, level: 'alarm', where: 'Check of the files', message: sentence(damage.message), suggestion: damage.suggestion ?? '' });
  }
  return found.sort((one, other) => Number(one.level !== 'alarm') - Number(other.level !== 'alarm'));
}

const ENDINGS = {
  stopped: '', duration: 'its time was over', source_ended: 'the source ended', shutdown: 'the service ended',
};

/** Why a recording waits or has ended, in brackets behind that; '': that says it all. @param {string} reason */
export function reasonWords(reason) {
  const words = ENDINGS[reason] ?? CAUSES[reason]?.[0] ?? (reason ?? '').replaceAll('_', ' ');
  return words && ` (${words})`;
}

const HAPPENED = {
  STARTED: (name, p) => `${name} records: ${p.filename}.`,
  STOPPED: (name, p) => `${name} stopped after ${duration(p.duration)}${reasonWords(p.reason)}.`,
  ROTATED: (name, p) => `${name} began the file ${p.filename}.`,
  GAP: (name, p) => `${name} has a gap: ${p.reason ? gapCause(p.reason) : 'frames are missing'}.`,
  ERROR: (name, p) => `${name} cannot record: ${p.reason ?? 'see its state'}.`,
};

/** An event as a sentence. @param {string} method @param {Record<string, any>} params @param {string} name */
export function eventSentence(method, params, name) {
  switch (method) {
    case 'recording_status_update':
      return HAPPENED[params.status]?.(name, params) ?? `${name}: ${params.status}.`;
    case 'camera_status_update':
      if (params.message) return `${name}: ${sentence(params.message)}`;
      return params.status === 'CONNECTED' ? `${name} works again.` : `${name}: ${cameraState(params)}.`;
    case 'storage_status_update':
      return storageProblem(params);
    case 'retention_update':
      return `Cleanup removed ${params.files_deleted ?? params.files?.length ?? 0} files and freed ${size(params.space_freed ?? params.bytes ?? 0)}.`;
    case 'recovery_update':
      return searchSentence(params);
    case 'scrub_update':
      return sentence(params.message ?? `${params.filename} is damaged`);
    case 'events_missed':
      return `${params.missed} events are not kept any more.`;
    default:
      return method.replaceAll('_', ' ');
  }
}

const OUTCOMES = {
  sealed: 'completed', adopted: 'found', renamed: 'renamed', copy: 'copies', empty: 'without pictures', foreign: 'of other programs',
  unreadable: 'cannot be read', missing: 'gone', unfinished: 'removed, unfinished',
};

/** What a search of the recordings folder has found. */
function searchSentence({ total, counts, problem }) {
  const found = Object.entries(counts).map(([outcome, files]) => `${files.toLocaleString()} ${OUTCOMES[outcome] ?? outcome}`);
  return `The service has looked at ${count(total, 'file')}${found.length ? `: ${found.join(', ')}` : ''}.${problem ? ` ${sentence(problem)}` : ''}`;
}

/** Whether an event is bad news. @param {string} method @param {Record<string, any>} params */
export function isBad(method, params) {
  if (method === 'recording_status_update') return params.status === 'ERROR' || params.status === 'GAP';
  if (method === 'camera_status_update') return params.status !== 'CONNECTED' || Boolean(params.message);
  if (method === 'storage_status_update') return params.threshold_status !== 'normal';
  return method === 'scrub_update' || method === 'events_missed';
}
