/**
 * What of a camera is recorded, and what is missing, for the timeline.
 *
 * @typedef {{from: number, to: number, growing: boolean, playable: boolean}} Span
 * @typedef {{from: number, to: number, cause: string, exact: boolean}} MissingSpan
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

const readSpan = ({ start, end, growing, playable }) => ({ from: Date.parse(start), to: Date.parse(end), growing, playable });

const readGap = ({ from, to, cause, exact }) => ({ from: Date.parse(from), to: Date.parse(to), cause, exact });
