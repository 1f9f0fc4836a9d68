//! Prices parcels.

pub mod parcel;
pub mod surcharge;
pub mod tariff;
