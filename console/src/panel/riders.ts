/** List of riders, which makes them reachable by keyboard. */

import type { Rider } from "../model";
import { DUTY_COLOR, UNKNOWN_COLOR } from "../colors";
import { DUTY_LABEL, FRESHNESS_LABEL } from "../labels";
import { formatAge, shortenId } from "../format";
import { byId } from "./dom";
import { FilterList, type Filter } from "./filter-list";

const FILTERS: Filter<Rider>[] = [
  { name: "All", matches: () => true },
  { name: "Free", matches: (rider) => rider.duty === "idle" },
  { name: "Carrying", matches: (rider) => rider.duty === "busy" },
  { name: "Off duty", matches: (rider) => rider.duty === "off" },
  { name: "No signal", matches: (rider) => rider.state !== "live" },
];

export class RiderList {
  private readonly list: FilterList<Rider>;
  private nowMs = 0;

  constructor(onSelect: (riderId: string) => void) {
    this.list = new FilterList<Rider>({
      root: byId("riders"),
      filters: FILTERS,
      placeholder: "Find a rider",
      row: (rider) => this.row(rider),
      onSelect,
    });
  }

  show(riders: Iterable<Rider>, nowMs: number): void {
    this.nowMs = nowMs;
    this.list.show([...riders].sort((a, b) => (a.id < b.id ? -1 : 1)));
  }

  select(riderId: string | null): void {
    this.list.select(riderId);
  }

  private row(rider: Rider) {
    return {
      key: rider.id,
      color: DUTY_COLOR[rider.duty] ?? UNKNOWN_COLOR,
      title: shortenId(rider.id),
      aside: DUTY_LABEL[rider.duty] ?? rider.duty,
      note: `${FRESHNESS_LABEL[rider.state] ?? rider.state} · last fix ${formatAge(rider.ts, this.nowMs)} ago`,
      searchText: rider.id,
    };
  }
}
