//! Matches words, paths and lines in other lines.

/// Replaces each run of spaces by one space.
pub(super) fn plain(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns whether `word` occurs in `line` as a whole word. `LIMIT = 7` does not occur in
/// `RETRY_LIMIT = 75`, nor `7` in `7.5`, nor `store.py` in `src/store.py`.
pub(super) fn has_word(line: &str, word: &str) -> bool {
    !word.is_empty()
        && line.match_indices(word).any(|(at, _)| {
            let before = &line[..at];
            let after = &line[at + word.len()..];
            !grows_before(before, word) && !grows_after(after, word)
        })
}

fn grows_before(before: &str, word: &str) -> bool {
    let mut letters = before.chars().rev();
    let (last, second) = (letters.next(), letters.next());
    let (Some(first), Some(last)) = (word.chars().next(), last) else {
        return false;
    };
    let is_joined = is_part(first)
        && (is_part(last)
            || (is_path(word) && "/-".contains(last))
            || (last == '.' && second.is_some_and(is_part) && first.is_ascii_digit()));
    // `a/` and `b/` are prefixes of git, not folders of the repository.
    is_joined && !(last == '/' && ["a/", "b/"].into_iter().any(|side| has_end(before, side)))
}

/// Returns whether a text ends with a whole word.
fn has_end(text: &str, end: &str) -> bool {
    text.strip_suffix(end)
        .is_some_and(|rest| !rest.ends_with(|letter| is_part(letter) || "/-.".contains(letter)))
}

fn grows_after(after: &str, word: &str) -> bool {
    let mut letters = after.chars();
    let (next, second) = (letters.next(), letters.next());
    let (Some(end), Some(next)) = (word.chars().next_back(), next) else {
        return false;
    };
    let goes_on = |letter: Option<char>| letter.is_some_and(is_part);
    is_part(end)
        && (is_part(next)
            || (is_path(word) && "/-".contains(next) && goes_on(second))
            || (next == '.' && goes_on(second) && (is_path(word) || end.is_ascii_digit())))
}

pub(super) fn is_part(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// Returns whether a text looks like a path: no spaces, and a folder or an extension.
pub(super) fn is_path(text: &str) -> bool {
    let ending = text
        .rsplit_once('.')
        .is_some_and(|(name, ending)| name.ends_with(is_part) && ending.starts_with(is_part));
    let is_number = text.starts_with(|first: char| first.is_ascii_digit());
    !text.contains(' ') && !is_number && (ending || text.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::{has_word, is_path};

    #[test]
    fn only_whole_words_numbers_and_paths_match() {
        for (line, word) in [
            ("LIMIT = 7", "LIMIT = 7"),
            ("12\tLIMIT = 7", "LIMIT = 7"),
            ("It is 7.", "7"),
            ("see src/store.py.", "src/store.py"),
            ("diff --git a/src/store.py b/src/store.py", "src/store.py"),
            ("files in src/:", "src/"),
            ("src/store.py: retry_later", "retry_later"),
        ] {
            assert!(has_word(line, word), "{word:?} in {line:?}");
        }
        for (line, word) in [
            ("RETRY_LIMIT = 75", "LIMIT = 7"),
            ("LIMIT = 75", "LIMIT = 7"),
            ("LIMIT = 7.5", "7"),
            ("LIMIT = 1.7", "7"),
            ("see src/store.py", "store.py"),
            ("see lib/src/store.py", "src/store.py"),
            ("see src/store.pyi", "src/store.py"),
            ("see src/store.py.bak", "src/store.py"),
        ] {
            assert!(!has_word(line, word), "{word:?} in {line:?}");
        }
        assert!(is_path("src/store.py") && is_path("a.rs"));
        assert!(!is_path("7.5") && !is_path("the file.") && !is_path("word"));
    }
}
