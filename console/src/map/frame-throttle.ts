/** When to draw next: often where that is cheap, seldom where there is no graphics card. */

/** At most ten times a second; from afar nothing moves a pixel in a tenth of a second. */
const FRAME_MS_NEAR = 100;
const FRAME_MS_FAR = 180;
const FRAME_MS_MAX = 1_500;
/** A browser that stutters after a drawing is left alone for so many times as long. */
const STUTTER_FACTOR = 3;
/** How much of the last stutter counts. */
const STUTTER_WEIGHT = 0.3;
/** A screen of 60 Hz is asked every 17 ms: better a little early than a whole frame late. */
const EARLY_MS = 8;
/** The tab was hidden meanwhile, which says nothing. */
const GAP_MS_MAX = 2_500;

export class FrameThrottle {
  private lastDrawMs = 0;
  private lastFrameMs = 0;
  private slowestGapMs = 0;
  private stutterMs = 0;

  /** Whether to draw in this frame of the screen. */
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

  /** Something was clicked: draw at once. */
  drawNext(): void {
    this.lastDrawMs = 0;
  }
}
