//! What is sent.

/// One parcel as it was handed in.
pub struct Parcel {
    pub number: u64,
    pub grams: u32,
    pub zone: u8,
}

impl Parcel {
    /// Whether one person can carry it.
    pub fn is_portable(&self) -> bool {
        self.grams <= 31_500
    }
}
