// Tests of the page.

import { minutesUntil } from "./arrival";
import { renderParcel } from "./track";

test("a parcel shows its number", () => {
  const parcel = { parcelNumber: 4711, code: "held", stopsAhead: 2, missedPolls: 0 };
  expect(renderParcel(parcel)).toContain("4711");
});

test("two stops take twelve minutes", () => {
  expect(minutesUntil(2)).toBe(12);
});
