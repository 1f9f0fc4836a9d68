//! Relevance of a file of the repository for a change: which files are worth reading in a review.

use std::collections::BTreeSet;

use domain::pull_request::PullRequest;

/// Shorter words occur in every file.
const SHORTEST: usize = 4;
/// Maximum number of common names that count. A file with more is not more relevant.
const MOST_NAMES: usize = 50;
/// Weight of a common folder, relative to a common name.
const FOLDER: usize = 4;

/// Names and folders of a change.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// Words of the changed lines, and names of the changed files without extensions.
    names: BTreeSet<String>,
    /// The folders of the changed files.
    folders: BTreeSet<String>,
}

impl Terms {
    /// Collects the names and folders of a change.
    pub fn from_pull_request(pull_request: &PullRequest) -> Self {
        let mut terms = Self::default();
        for file in &pull_request.files {
            let (folder, name) = file.path.rsplit_once('/').unwrap_or(("", &file.path));
            terms.folders.insert(folder.to_owned());
            let stem = name.split('.').next().unwrap_or(name);
            terms.names.extend(words(stem).map(str::to_owned));
            let changed = file.patch.lines().filter(|line| {
                line.starts_with(['+', '-']) && !line.starts_with("+++") && !line.starts_with("---")
            });
            for line in changed {
                terms.names.extend(words(line).map(str::to_owned));
            }
        }
        terms
    }

    /// Returns the relevance of a file for the change: the folders on its path that contain a
    /// changed file, and the common words. Larger is more relevant.
    pub fn relevance(&self, path: &str, text: &str) -> usize {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let near = self
            .folders
            .iter()
            .map(|changed| {
                let both = folder.split('/').zip(changed.split('/'));
                both.take_while(|(one, other)| one == other && !one.is_empty())
                    .count()
            })
            .max()
            .unwrap_or_default();
        let used: BTreeSet<&str> = words(path).chain(words(text)).collect();
        let named = used
            .iter()
            .filter(|word| self.names.contains(**word))
            .take(MOST_NAMES)
            .count();
        near * FOLDER + named
    }
}

/// Returns the words of a text that may be names.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|word| word.len() >= SHORTEST && word.starts_with(|c: char| !c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::pull_request::{ChangedFile, Content, FileStatus};

    fn change() -> PullRequest {
        PullRequest {
            title: None,
            base: "a".to_owned(),
            head: "b".to_owned(),
            files: vec![ChangedFile {
                path: "src/shop/pricing.py".to_owned(),
                old_path: None,
                status: FileStatus::Modified,
                content: Content::Text,
                patch:
                    "+++ b/src/shop/pricing.py\n+def price_of(item):\n-TAX_RATE = 19\n context\n"
                        .to_owned(),
                hunks: Vec::new(),
                head_text: None,
            }],
            dropped: Vec::new(),
            other_paths: Vec::new(),
        }
    }

    #[test]
    fn files_that_use_it_come_before_near_files_and_both_before_the_rest() {
        let terms = Terms::from_pull_request(&change());
        let user = terms.relevance(
            "src/shop/cart.py",
            "from pricing import price_of\ntotal = price_of(item) * TAX_RATE\n",
        );
        let neighbour = terms.relevance("src/shop/stock.py", "nothing of it");
        let other = terms.relevance("docs/history.md", "nothing of it");
        assert!(
            user > neighbour && neighbour > other,
            "{user} {neighbour} {other}"
        );
        assert_eq!(other, 0);
    }

    #[test]
    fn lines_that_did_not_change_and_headers_are_no_names_of_the_change() {
        let terms = Terms::from_pull_request(&change());
        assert_eq!(terms.relevance("x.md", "context"), 0);
        assert_eq!(terms.relevance("x.md", "price_of price_of"), 1);
    }
}
