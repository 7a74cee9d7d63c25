/**
 * What of a camera is recorded, and what is missing, for the timeline.
 *
 * @typedef {{from: number, to: number, filename: string|null, growing: boolean, playable: boolean}} Span
 * @typedef {{from: number, to: number, cause: string, exact: boolean}} MissingSpan
 */

const METHOD_UNKNOWN = -32601;
const MOST = 1000;

/**
 * @param {any} store @param {string} camera @param {{from: number, to: number}} range
 * @returns {Promise<{spans: Span[], gaps: MissingSpan[]}>}
 */
export async function loadTimeline(store, camera, range) {
  const params = { camera, from: new Date(range.from).toISOString(), to: new Date(range.to).toISOString() };
  try {
    const { spans, gaps } = await store.call('get_timeline', params);
    return { spans: spans.map((span) => readSpan(span, span.start, span.end, span.growing, span.playable)), gaps: gaps.map(readGap) };
  } catch (error) {
    if (error.code !== METHOD_UNKNOWN) throw error;
  }
  const [{ files }, { gaps }] = await Promise.all([
    store.call('list_recordings', { ...params, limit: MOST }), store.call('get_gaps', { ...params, limit: MOST }),
  ]);
  const spans = files.map((file) => readSpan(file, file.start_time, file.end_time, file.status === 'recording', true));
  return { spans: spans.reverse(), gaps: gaps.map(readGap).reverse() };
}

const readSpan = (span, start, end, growing, playable) => ({
  from: Date.parse(start), to: Date.parse(end), filename: span.filename, growing: Boolean(growing), playable: playable !== false,
});

const readGap = (gap) => ({ from: Date.parse(gap.from), to: Date.parse(gap.to), cause: gap.cause, exact: gap.exact });
