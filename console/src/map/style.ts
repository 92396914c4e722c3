/** Which map lies under the city: the operator's own, if the console was built with one, or ours. */

import type { StyleSpecification } from "maplibre-gl";
import { builtInStyle } from "./basemap";

/** Named by the build: the folder of the operator's own style, or null. */
declare const BASEMAP_FOLDER: string | null;

export async function mapStyle(): Promise<StyleSpecification> {
  if (BASEMAP_FOLDER !== null) {
    const { loadOperatorStyle: operatorsStyle } = await import("./operator-style");
    return operatorsStyle(new URL(`${BASEMAP_FOLDER}/`, document.baseURI));
  }
  return builtInStyle();
}
