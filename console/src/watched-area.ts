/** Which area to watch: more than is visible, and changed only when necessary. */

import type { Bbox } from "./wire";

/** Margin watched beyond each edge, as a share of the visible area. */
const MARGIN_SHARE = 0.3;
/** Above this ratio of watched to visible area the rest is only traffic; below it the lists keep
 * the whole city while the map shows one street. */
const AREA_RATIO_MAX = 60;

export class WatchedArea {
  private watched: Bbox | null = null;

  /** The area to watch for what is `visible`, or null if the current one still fits. */
  nextBbox(visible: Bbox): Bbox | null {
    if (this.watched && contains(this.watched, visible)) {
      if (areaOf(this.watched) < AREA_RATIO_MAX * areaOf(visible)) return null;
    }
    this.watched = expand(visible);
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
  const height = (north - south) * MARGIN_SHARE;
  const width = (east - west) * MARGIN_SHARE;
  return {
    south: Math.max(south - height, -90),
    west: Math.max(west - width, -180),
    north: Math.min(north + height, 90),
    east: Math.min(east + width, 180),
  };
}
