//! Prices parcels.

pub mod legacy_tariff;
pub mod parcel;
pub mod tariff;
