/** When to draw next: often where that is cheap, seldom where there is no graphics card. */

/** At most ten times a second; from afar nothing moves a pixel in a tenth of a second. */
const FRAME_MS_NEAR = 100;
const FRAME_MS_FAR = 180;
const FRAME_MS_MAX = 1_500;
/** A browser that stutters after a drawing is left alone for so many times as long. */
const REST = 3;
/** How much of the last stutter counts. */
const WEIGHT = 0.3;
/** A screen of 60 Hz is asked every 17 ms: better a little early than a whole frame late. */
const EARLY_MS = 8;
/** The tab was hidden meanwhile, which says nothing. */
const GAP_MS_MAX = 2_500;

export class Pace {
  private drawnMs = 0;
  private askedMs = 0;
  private slowestMs = 0;
  private stutterMs = 0;

  /** Whether to draw in this frame of the screen. */
  isDue(nowMs: number, isNear: boolean): boolean {
    const gapMs = nowMs - this.askedMs;
    this.askedMs = nowMs;
    if (gapMs < GAP_MS_MAX) this.slowestMs = Math.max(this.slowestMs, gapMs);
    const frameMs = Math.max(isNear ? FRAME_MS_NEAR : FRAME_MS_FAR, REST * this.stutterMs);
    if (nowMs - this.drawnMs < Math.min(frameMs, FRAME_MS_MAX) - EARLY_MS) return false;
    this.drawnMs = nowMs;
    this.stutterMs += WEIGHT * (this.slowestMs - this.stutterMs);
    this.slowestMs = 0;
    return true;
  }

  /** Something was clicked: draw at once. */
  hurry(): void {
    this.drawnMs = 0;
  }
}
