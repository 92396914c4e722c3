/** Two little charts: fixes per second, and the money settled so far. */

import "uplot/dist/uPlot.min.css";
import UPlot from "uplot";
import type { Rates } from "../rates";
import { whole } from "../words";
import { byId, make, say } from "./dom";

const HEIGHT_PX = 56;

interface Chart {
  plot: UPlot;
  host: HTMLElement;
  value: HTMLElement;
}

export class Charts {
  private readonly fixes = chart("chart-fixes", "Fixes per second", "#38bdf8", "fixesPerSecond");
  private readonly settled = chart("chart-settled", "Settled, XAF", "#34d399", "settledXaf");

  constructor() {
    const resize = new ResizeObserver(() => {
      for (const { plot, host } of [this.fixes, this.settled]) {
        plot.setSize({ width: host.clientWidth, height: HEIGHT_PX });
      }
    });
    resize.observe(this.fixes.host);
  }

  show(rates: Rates, settledXaf: number): void {
    const rate = rates.fixesPerSecond();
    say(this.fixes.value, rate === null ? "–" : whole(rate));
    say(this.settled.value, whole(settledXaf));
    this.fixes.plot.setData([rates.at, rates.fixes]);
    this.settled.plot.setData([rates.at, rates.settled]);
  }
}

function chart(id: string, title: string, color: string, counter: string): Chart {
  const figure = byId(id);
  const value = make("output", { "data-counter": counter }, "–");
  const host = make("div", { "aria-hidden": "true" });
  figure.append(make("figcaption", {}, title, value), host);
  const options: UPlot.Options = {
    width: Math.max(host.clientWidth, 100),
    height: HEIGHT_PX,
    padding: [4, 0, 2, 0],
    legend: { show: false },
    cursor: { show: false },
    axes: [{ show: false }, { show: false }],
    scales: { x: { time: true }, y: { range: (_, min, max) => roomAround(min, max) } },
    series: [{}, { stroke: color, width: 1.6, fill: fade(color, HEIGHT_PX), points: { show: false } }],
  };
  return { plot: new UPlot(options, [[], []], host), host, value };
}

/** A flat line stays in the middle, and a small wave is not blown up to a storm. */
function roomAround(min: number | null, max: number | null): [number, number] {
  const low = min ?? 0;
  const high = max ?? 1;
  const room = Math.max((high - low) * 0.12, high * 0.08, 1);
  return [Math.max(0, low - room), high + room];
}

function fade(color: string, heightPx: number): CanvasGradient | string {
  const pen = document.createElement("canvas").getContext("2d");
  if (!pen) return color;
  const gradient = pen.createLinearGradient(0, 0, 0, heightPx * devicePixelRatio);
  gradient.addColorStop(0, `${color}55`);
  gradient.addColorStop(1, `${color}00`);
  return gradient;
}
