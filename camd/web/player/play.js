// @ts-check
/** Begin to play where a browser may not allow sound. */

/**
 * Play; without sound, after `onMuted`, where the browser demands a click for it.
 * @param {HTMLVideoElement} video
 * @param {() => void} onMuted
 */
export async function play(video, onMuted) {
  try {
    await video.play();
  } catch (error) {
    if (error.name !== "NotAllowedError" || video.muted) throw error;
    video.muted = true;
    onMuted();
    await video.play();
  }
}
