// Follows one parcel.

import { arrivalText } from "./arrival";
import { isStale, statusLabel } from "./status";

export interface TrackedParcel {
  parcelNumber: number;
  code: string;
  stopsAhead: number;
  missedPolls: number;
}

export function renderParcel(parcel: TrackedParcel): string {
  const label = statusLabel(parcel.code);
  const stale = isStale(parcel.missedPolls);
  const arrival = arrivalText(parcel.stopsAhead);
  const warning = stale ? " (no news for a while)" : "";
  return `${parcel.parcelNumber}: ${label}, ${arrival}${warning}`;
}
