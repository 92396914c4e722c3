/** An operator's own basemap: a MapLibre style and its PMTiles, served from the console's folder. */

import { addProtocol, type StyleSpecification } from "maplibre-gl";
import { Protocol } from "pmtiles";

/** Read `style.json` of the folder; its `./…` paths are relative to the folder. */
export async function loadOperatorStyle(folder: URL): Promise<StyleSpecification> {
  addProtocol("pmtiles", new Protocol().tile);
  const response = await fetch(new URL("style.json", folder));
  if (!response.ok) throw new Error(`the basemap's style.json answered ${response.status}`);
  return withAbsoluteUrls(await response.json(), folder.href) as StyleSpecification;
}

/** Resolve `./…` paths, because MapLibre needs absolute URLs. */
function withAbsoluteUrls(value: unknown, folder: string): unknown {
  if (typeof value === "string") return value.replace(/^(pmtiles:\/\/)?\.\//, `$1${folder}`);
  if (Array.isArray(value)) return value.map((item) => withAbsoluteUrls(item, folder));
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, item]) => [name, withAbsoluteUrls(item, folder)]),
  );
}
