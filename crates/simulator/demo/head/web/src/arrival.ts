// When a parcel will be there.

export const MINUTES_PER_STOP = 6;

export function minutesUntil(stopsAhead: number): number {
  return stopsAhead * MINUTES_PER_STOP;
}

export function arrivalText(stopsAhead: number): string {
  return `in about ${minutesUntil(stopsAhead)} minutes`;
}
