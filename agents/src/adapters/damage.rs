//! Damaged recordings for tests of readers.

use proptest::sample::Index;

/// Replaces bytes and cuts the end. At least half of the text remains.
pub(super) fn damaged(text: &str, replaced: &[(Index, u8)], cut: Index) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    for (at, byte) in replaced {
        let at = at.index(bytes.len());
        bytes[at] = *byte;
    }
    bytes.truncate(cut.index(text.len()).max(text.len() / 2));
    bytes
}
