//! The prices of the old price list, for parcels that were paid before it was replaced.

/// The old price, in cents: by whole kilograms.
pub fn legacy_price(grams: u32) -> u32 {
    (grams + 999) / 1000 * 120
}
