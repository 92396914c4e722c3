/** Which window of the map to watch: a little more than is seen, and anew only when that helps. */

import type { Bbox } from "./wire";

/** Watched beyond each edge, as a part of what is seen. */
const MARGIN_SHARE = 0.3;
/** When so much less is seen than watched, the rest is only traffic; until then the lists keep
 * the whole city while somebody looks at one street. */
const AREA_RATIO_MAX = 60;

export class WatchedArea {
  private watched: Bbox | null = null;

  /** The window to watch now that `seen` is seen, or null if the present one will do. */
  nextBbox(seen: Bbox): Bbox | null {
    if (this.watched && contains(this.watched, seen)) {
      if (areaOf(this.watched) < AREA_RATIO_MAX * areaOf(seen)) return null;
    }
    this.watched = expand(seen);
    return this.watched;
  }
}

function contains(outer: Bbox, inner: Bbox): boolean {
  return (
    outer.south <= inner.south &&
    outer.west <= inner.west &&
    outer.north >= inner.north &&
    outer.east >= inner.east
  );
}

function areaOf({ south, west, north, east }: Bbox): number {
  return (north - south) * (east - west);
}

function expand({ south, west, north, east }: Bbox): Bbox {
  const high = (north - south) * MARGIN_SHARE;
  const wide = (east - west) * MARGIN_SHARE;
  return {
    south: Math.max(south - high, -90),
    west: Math.max(west - wide, -180),
    north: Math.min(north + high, 90),
    east: Math.min(east + wide, 180),
  };
}
