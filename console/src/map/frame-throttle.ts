/** Frame throttle: draws often where it is cheap, rarely without a GPU. */

/** At most ten times a second; zoomed out, nothing moves a pixel in that time. */
const FRAME_MS_NEAR = 100;
const FRAME_MS_FAR = 180;
const FRAME_MS_MAX = 1_500;
/** After a frame that stutters, drawing pauses for this multiple of the stutter. */
const STUTTER_FACTOR = 3;
/** Weight of the last stutter in the moving average. */
const STUTTER_WEIGHT = 0.3;
/** At 60 Hz a frame comes every 17 ms: slightly early is better than a whole frame late. */
const EARLY_MS = 8;
/** A longer gap means that the tab was hidden, and is ignored. */
const GAP_MS_MAX = 2_500;

export class FrameThrottle {
  private lastDrawMs = 0;
  private lastFrameMs = 0;
  private slowestGapMs = 0;
  private stutterMs = 0;

  /** Whether to draw in this animation frame. */
  shouldDraw(nowMs: number, isNear: boolean): boolean {
    const gapMs = nowMs - this.lastFrameMs;
    this.lastFrameMs = nowMs;
    if (gapMs < GAP_MS_MAX) this.slowestGapMs = Math.max(this.slowestGapMs, gapMs);
    const frameMs = Math.max(isNear ? FRAME_MS_NEAR : FRAME_MS_FAR, STUTTER_FACTOR * this.stutterMs);
    if (nowMs - this.lastDrawMs < Math.min(frameMs, FRAME_MS_MAX) - EARLY_MS) return false;
    this.lastDrawMs = nowMs;
    this.stutterMs += STUTTER_WEIGHT * (this.slowestGapMs - this.stutterMs);
    this.slowestGapMs = 0;
    return true;
  }

  /** Draw in the next frame, e.g. after a click. */
  drawNext(): void {
    this.lastDrawMs = 0;
  }
}
