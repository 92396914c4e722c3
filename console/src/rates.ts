/** History of the counters and their rates, for the charts. */

import type { Totals } from "./wire";

interface Sample {
  /** The server's time. Units: Unix seconds. */
  atS: number;
  totals: Totals;
}

/** Five minutes at one delta a second. */
const SAMPLES_MAX = 300;
/** Time over which a rate is measured, so that one late delta makes no spike. */
const WINDOW_S = 4;
const WINDOW_S_MIN = 2;

export class RateHistory {
  private samples: Sample[] = [];
  /** Columns of the charts: Unix seconds, fixes per second, settled XAF. */
  readonly timesS: number[] = [];
  readonly fixRates: number[] = [];
  readonly settledXaf: number[] = [];

  /** Add the counters of one delta. */
  add(totals: Totals, tsMs: number): void {
    const atS = tsMs / 1000;
    const last = this.samples.at(-1);
    if (last && atS <= last.atS) return;
    // Counters never fall, except when another server starts from zero.
    if (last && totals.fixes < last.totals.fixes) this.samples = [];
    this.samples.push({ atS, totals });
    while (this.samples.length > 2 && atS - this.samples[1]!.atS >= WINDOW_S) this.samples.shift();
    const rate = this.fixesPerSecond();
    if (rate === null) return;
    this.timesS.push(atS);
    this.fixRates.push(rate);
    this.settledXaf.push(totals.settledXaf);
    for (const column of [this.timesS, this.fixRates, this.settledXaf]) {
      if (column.length > SAMPLES_MAX) column.shift();
    }
  }

  /** Null until two samples are far enough apart. */
  fixesPerSecond(): number | null {
    const first = this.samples[0];
    const last = this.samples.at(-1);
    if (!first || !last || last.atS - first.atS < WINDOW_S_MIN) return null;
    return (last.totals.fixes - first.totals.fixes) / (last.atS - first.atS);
  }
}
