/** The rider or order that the operator has selected. */

export interface Selection {
  kind: "rider" | "order";
  id: string;
}

export function isSameSelection(a: Selection | null, b: Selection | null): boolean {
  return a?.kind === b?.kind && a?.id === b?.id;
}
