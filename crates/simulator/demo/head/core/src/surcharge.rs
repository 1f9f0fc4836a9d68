//! What is added to the price of an unusual parcel.

use crate::parcel::Parcel;

/// Added for a parcel that one person cannot carry, in cents.
pub const BULKY_SURCHARGE_CENTS: u32 = 1275;

/// Zones from this one on lie on an island.
pub const FIRST_ISLAND_ZONE: u8 = 7;

/// What an island costs more, in cents.
pub fn island_surcharge(zone: u8) -> u32 {
    if zone >= FIRST_ISLAND_ZONE {
        u32::from(zone) * 65
    } else {
        0
    }
}

/// What a bulky parcel costs more, in cents.
pub fn bulky_surcharge(parcel: &Parcel) -> u32 {
    if parcel.is_portable() {
        0
    } else {
        BULKY_SURCHARGE_CENTS
    }
}

/// A surcharge as it stands on the receipt.
pub struct SurchargeLine {
    pub label: String,
    pub cents: u32,
}
