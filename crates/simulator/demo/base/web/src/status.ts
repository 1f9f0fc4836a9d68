// The words that a customer sees.

export const POLL_SECONDS = 30;

export function statusLabel(code: string): string {
  return code === "delivered" ? "Delivered" : "On its way";
}
