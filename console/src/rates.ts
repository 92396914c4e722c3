/** Counters over time: how fast they grow, for the charts. */

import type { Totals } from "./wire";

interface Sample {
  /** Unix seconds, of the server. */
  at: number;
  totals: Totals;
}

/** About five minutes at one delta a second. */
const SAMPLES_MAX = 300;
/** A rate is taken over at least this long, or one late delta makes a spike. */
const WINDOW_S = 4;
const WINDOW_S_MIN = 2;

export class RateHistory {
  private samples: Sample[] = [];
  /** Columns for the charts: seconds, fixes per second, settled XAF. */
  readonly timesS: number[] = [];
  readonly fixRates: number[] = [];
  readonly settledXaf: number[] = [];

  /** Take the counters of one delta. */
  add(totals: Totals, tsMs: number): void {
    const at = tsMs / 1000;
    const last = this.samples.at(-1);
    if (last && at <= last.at) return;
    // Counters never fall, except when another server counts from zero.
    if (last && totals.fixes < last.totals.fixes) this.samples = [];
    this.samples.push({ at, totals });
    while (this.samples.length > 2 && at - this.samples[1]!.at >= WINDOW_S) this.samples.shift();
    const rate = this.fixesPerSecond();
    if (rate === null) return;
    this.timesS.push(at);
    this.fixRates.push(rate);
    this.settledXaf.push(totals.settledXaf);
    for (const column of [this.timesS, this.fixRates, this.settledXaf]) {
      if (column.length > SAMPLES_MAX) column.shift();
    }
  }

  /** Null until there are two samples to compare. */
  fixesPerSecond(): number | null {
    const first = this.samples[0];
    const last = this.samples.at(-1);
    if (!first || !last || last.at - first.at < WINDOW_S_MIN) return null;
    return (last.totals.fixes - first.totals.fixes) / (last.at - first.at);
  }
}
