/**
 * What of a camera is recorded, and what is missing, for the timeline.
 *
 * @typedef {{from: number, to: number, growing: boolean, playable: boolean, merged: number}} Span
 * @typedef {{from: number, to: number, cause: string, exact: boolean, merged: number}} MissingSpan
 *   `merged`: so many of them, with what lies between
 */

/**
 * @param {any} store @param {string} camera @param {{from: number, to: number}} range
 * @returns {Promise<{spans: Span[], gaps: MissingSpan[]}>}
 */
export async function loadTimeline(store, camera, range) {
  const [from, to] = [range.from, range.to].map((each) => new Date(each).toISOString());
  const { spans, gaps } = await store.call('get_timeline', { camera, from, to });
  return { spans: spans.map(readSpan), gaps: gaps.map(readGap) };
}

const readSpan = ({ start, end, ...more }) => ({ ...more, from: Date.parse(start), to: Date.parse(end) });

const readGap = ({ from, to, ...more }) => ({ ...more, from: Date.parse(from), to: Date.parse(to) });
