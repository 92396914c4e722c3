/** Two charts: fixes per second, and the total amount settled. */

import "uplot/dist/uPlot.min.css";
import UPlot from "uplot";
import type { RateHistory } from "../rates";
import { formatWhole } from "../format";
import { byId, createElement, setText } from "./dom";

const HEIGHT_PX = 56;

interface Chart {
  plot: UPlot;
  host: HTMLElement;
  value: HTMLElement;
}

export class Charts {
  private readonly fixes = chart("chart-fixes", "Fixes per second", "#38bdf8", rateRange);
  private readonly settled = chart("chart-settled", "Settled, XAF", "#34d399", growthRange);

  constructor() {
    const resize = new ResizeObserver(() => {
      for (const { plot, host } of [this.fixes, this.settled]) {
        plot.setSize({ width: host.clientWidth, height: HEIGHT_PX });
      }
    });
    resize.observe(this.fixes.host);
  }

  show(rates: RateHistory, settledXaf: number): void {
    const rate = rates.fixesPerSecond();
    setText(this.fixes.value, rate === null ? "–" : formatWhole(rate));
    setText(this.settled.value, formatWhole(settledXaf));
    this.fixes.plot.setData([rates.timesS, rates.fixRates]);
    this.settled.plot.setData([rates.timesS, rates.settledXaf]);
  }
}

type Range = (low: number, high: number) => [number, number];

function chart(id: string, title: string, color: string, range: Range): Chart {
  const figure = byId(id);
  const value = createElement("output", { "data-counter": figure.dataset["shows"]! }, "–");
  const host = createElement("div", { "aria-hidden": "true" });
  figure.append(createElement("figcaption", {}, title, value), host);
  const options: UPlot.Options = {
    width: Math.max(host.clientWidth, 100),
    height: HEIGHT_PX,
    padding: [4, 0, 2, 0],
    legend: { show: false },
    cursor: { show: false },
    axes: [{ show: false }, { show: false }],
    scales: { x: { time: true }, y: { range: (_, min, max) => range(min ?? 0, max ?? 1) } },
    series: [{}, { stroke: color, width: 1.6, fill: fade(color, HEIGHT_PX), points: { show: false } }],
  };
  return { plot: new UPlot(options, [[], []], host), host, value };
}

/** Range of a rate: a flat line stays in the middle, and small changes are not magnified. */
function rateRange(low: number, high: number): [number, number] {
  const margin = Math.max((high - low) * 0.12, high * 0.08, 1);
  return [Math.max(0, low - margin), high + margin];
}

/** Range of a growing total: the growth since the left edge, whatever the total. */
function growthRange(low: number, high: number): [number, number] {
  return [low - (high - low) * 0.1 - 1, high + (high - low) * 0.15 + 1];
}

function fade(color: string, heightPx: number): CanvasGradient | string {
  const context = document.createElement("canvas").getContext("2d");
  if (!context) return color;
  const gradient = context.createLinearGradient(0, 0, 0, heightPx * devicePixelRatio);
  gradient.addColorStop(0, `${color}55`);
  gradient.addColorStop(1, `${color}00`);
  return gradient;
}
