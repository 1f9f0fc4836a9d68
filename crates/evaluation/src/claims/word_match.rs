//! Occurrences of whole words in a text.

/// Returns whether `word` occurs in `text` as a whole word.
pub(super) fn has_word(text: &str, word: &str) -> bool {
    places_of(text, word).next().is_some()
}

/// Returns the positions at which `word` occurs in `text` as a whole word.
pub(super) fn places_of<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let places = (!word.is_empty()).then(|| text.match_indices(word));
    places.into_iter().flatten().filter_map(move |(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        let grows_before = before
            .is_some_and(|c| is_part(c) || "/.-".contains(c) && word.contains('/'))
            && word.starts_with(is_part);
        let grows_after = after.is_some_and(is_part) && word.ends_with(is_part);
        (!grows_before && !grows_after).then_some(at)
    })
}
