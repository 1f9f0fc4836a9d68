// Colours of the page.

export const INK = "#1b1b1f";
export const PAPER = "#faf8f2";
