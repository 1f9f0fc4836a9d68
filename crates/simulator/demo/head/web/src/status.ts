// The words that a customer sees.

export const POLL_SECONDS = 20;
export const STALE_AFTER_POLLS = 9;

export function statusLabel(code: string): string {
  if (code === "held") {
    return "Waiting at the counter";
  }
  return code === "delivered" ? "Delivered" : "On its way";
}

export function isStale(missedPolls: number): boolean {
  return missedPolls > STALE_AFTER_POLLS;
}
