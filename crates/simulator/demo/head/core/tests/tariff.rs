//! Prices that customers were promised.

use parcel_core::parcel::Parcel;
use parcel_core::surcharge::island_surcharge;
use parcel_core::tariff::{quote_parcel, round_to_cash};

#[test]
fn a_letter_costs_the_minimum() {
    let letter = Parcel { number: 1, grams: 20, zone: 1 };
    assert_eq!(quote_parcel(&letter), 515);
}

#[test]
fn an_island_costs_more() {
    assert_eq!(island_surcharge(8), 520);
}

#[test]
fn prices_can_be_paid_in_cash() {
    assert_eq!(round_to_cash(521), 525);
}
