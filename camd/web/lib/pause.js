/** How long to wait before the next try: not at first, then longer each time, and not as long as every other page. */

const STEP_MS = 1000;

/** @param {number} failures so far @param {number} longestMs */
export const pauseAfter = (failures, longestMs) => Math.min(failures * STEP_MS, longestMs) * (0.75 + Math.random() / 2);
