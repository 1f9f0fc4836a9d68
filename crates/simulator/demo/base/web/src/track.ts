// Follows one parcel.

import { statusLabel } from "./status";

export function renderParcel(parcelNumber: number, code: string): string {
  return `${parcelNumber}: ${statusLabel(code)}`;
}
