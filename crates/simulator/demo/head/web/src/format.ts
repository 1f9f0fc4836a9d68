// Numbers as customers read them.

export function centsAsText(cents: number): string {
  return (cents / 100).toFixed(2);
}
