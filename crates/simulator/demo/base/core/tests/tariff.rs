//! Prices that customers were promised.

use parcel_core::parcel::Parcel;
use parcel_core::tariff::quote_parcel;

#[test]
fn a_letter_costs_the_base_fee() {
    let letter = Parcel { number: 1, grams: 20, zone: 1 };
    assert_eq!(quote_parcel(&letter), 390);
}
