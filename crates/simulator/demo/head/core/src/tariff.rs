//! The price of a parcel.

use crate::parcel::Parcel;
use crate::surcharge::{bulky_surcharge, island_surcharge};

/// What every parcel costs, in cents.
pub const BASE_FEE_CENTS: u32 = 430;

/// The smallest amount that is charged, in cents.
pub const MINIMUM_CHARGE_CENTS: u32 = 515;

/// The price for a weight, in cents.
pub fn weight_fee(grams: u32) -> u32 {
    grams / 100 * 4
}

/// Rounds a price up to what can be paid in cash.
pub fn round_to_cash(cents: u32) -> u32 {
    cents.div_ceil(5) * 5
}

/// The whole price, in cents.
pub fn quote_parcel(parcel: &Parcel) -> u32 {
    let by_weight = weight_fee(parcel.grams);
    let by_zone = island_surcharge(parcel.zone);
    let by_size = bulky_surcharge(parcel);
    let sum = BASE_FEE_CENTS + by_weight + by_zone + by_size;
    round_to_cash(sum.max(MINIMUM_CHARGE_CENTS))
}
