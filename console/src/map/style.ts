/** Basemap style: the operator's own, if the console was built with one, or the built-in one. */

import type { StyleSpecification } from "maplibre-gl";
import { builtInStyle } from "./basemap";

/** Set by the build: the folder of the operator's own style, or null. */
declare const BASEMAP_FOLDER: string | null;

export async function mapStyle(): Promise<StyleSpecification> {
  if (BASEMAP_FOLDER !== null) {
    const { loadOperatorStyle } = await import("./operator-style");
    return loadOperatorStyle(new URL(`${BASEMAP_FOLDER}/`, document.baseURI));
  }
  return builtInStyle();
}
