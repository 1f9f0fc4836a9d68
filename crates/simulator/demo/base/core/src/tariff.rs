//! The price of a parcel.

use crate::parcel::Parcel;

/// What every parcel costs, in cents.
pub const BASE_FEE_CENTS: u32 = 390;

/// The price for a weight, in cents.
pub fn weight_fee(grams: u32) -> u32 {
    grams / 100 * 4
}

/// The whole price, in cents.
pub fn quote_parcel(parcel: &Parcel) -> u32 {
    BASE_FEE_CENTS + weight_fee(parcel.grams)
}
