/** The list of riders: the way to them for those who do not use a mouse. */

import type { Rider } from "../city";
import { DUTY_COLOR, UNKNOWN_COLOR } from "../look";
import { DUTY_WORD, STATE_WORD, age, shortId } from "../words";
import { byId } from "./dom";
import { FilterList, type Filter } from "./list";

const FILTERS: Filter<Rider>[] = [
  { name: "All", takes: () => true },
  { name: "Free", takes: (rider) => rider.duty === "idle" },
  { name: "Carrying", takes: (rider) => rider.duty === "busy" },
  { name: "Off duty", takes: (rider) => rider.duty === "off" },
  { name: "No signal", takes: (rider) => rider.state !== "live" },
];

export class RiderList {
  private readonly list: FilterList<Rider>;
  private nowMs = 0;

  constructor(onPick: (riderId: string) => void) {
    this.list = new FilterList<Rider>({
      root: byId("riders"),
      filters: FILTERS,
      placeholder: "Find a rider",
      row: (rider) => this.row(rider),
      onPick,
    });
  }

  show(riders: Iterable<Rider>, nowMs: number): void {
    this.nowMs = nowMs;
    this.list.show([...riders].sort((a, b) => (a.id < b.id ? -1 : 1)));
  }

  pick(riderId: string | null): void {
    this.list.pick(riderId);
  }

  private row(rider: Rider) {
    return {
      key: rider.id,
      color: DUTY_COLOR[rider.duty] ?? UNKNOWN_COLOR,
      title: shortId(rider.id),
      side: DUTY_WORD[rider.duty] ?? rider.duty,
      note: `${STATE_WORD[rider.state] ?? rider.state} · last fix ${age(rider.ts, this.nowMs)} ago`,
      words: rider.id,
    };
  }
}
