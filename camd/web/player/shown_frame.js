// @ts-check
/** Which frame is in the picture, and where the one is that is so many further on, or back. */

export class ShownFrame {
  /**
   * @param {HTMLVideoElement} video
   * @param {AbortSignal} signal  ends the watch
   */
  constructor(video, signal) {
    this.video = video;
    this.signal = signal;
    this.time = NaN; // media time of the newest frame that was told of
    this.watch();
  }

  watch() {
    this.video.requestVideoFrameCallback?.((_, frame) => {
      this.time = frame.mediaTime;
      if (!this.signal.aborted) this.watch();
    });
  }

  /**
   * The middle of the frame that is `frames` further on in a file whose frames follow evenly; media
   * time. Over the beginning of the file it goes back to the end of the one before.
   * @param {number} frames
   * @param {number} seconds  for which a frame lasts
   * @param {number} start  media time of the file's first frame
   */
  middleOf(frames, seconds, start) {
    const age = this.video.currentTime - this.time; // what is told of an earlier picture is older
    const known = age > -0.001 && age < seconds * 1.02;
    const estimate = start + Math.floor((this.video.currentTime - start) / seconds + 0.001) * seconds;
    return (known ? this.time : estimate) + (frames + 0.5) * seconds;
  }
}

/** For how long a frame of a file lasts; usual ones, where that is not known. */
export const frameSeconds = (file) => 1 / (file?.frame_rate || 25);
