//! Twenty small pull requests in six languages, for measuring the instrument itself.
//!
//! Each is a plan: modules, constants, types and functions with their calls, before and after the
//! change. The plans are in `plans/`, their grammar is described in [`mod@plan`], and
//! [`mod@writing`] turns a plan into source files. The same plan always gives the same bytes.

mod language;
mod plan;
mod syntax;
mod writing;
mod bodies;

use std::path::Path;

use simulator::repository::{Files, build_repository};

pub use language::Language;

/// A pull request as two states of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fixture {
    /// Name of the pull request and of its repository.
    pub name: &'static str,
    pub language: Language,
    /// Paths and texts, by path.
    pub before: Vec<(String, String)>,
    pub after: Vec<(String, String)>,
    /// Title of the pull request.
    pub title: String,
}

impl Fixture {
    /// Creates a repository in `folder` with both states, as [`build_repository`] does. Returns the
    /// ids of the commits before and after the change.
    ///
    /// # Errors
    ///
    /// Fails if git or the disk fails.
    pub async fn commit(&self, folder: &Path) -> anyhow::Result<(String, String)> {
        build_repository(folder, &files(&self.before), &files(&self.after)).await
    }
}

fn files(state: &[(String, String)]) -> Files {
    state
        .iter()
        .map(|(path, text)| (path.clone(), text.clone().into_bytes()))
        .collect()
}

/// Name, language and plan.
const PLANS: [(&str, Language, &str); 20] = [
    (
        "upload-relay",
        Language::Rust,
        include_str!("pull_requests/plans/upload-relay.plan"),
    ),
    (
        "tide-clock",
        Language::Rust,
        include_str!("pull_requests/plans/tide-clock.plan"),
    ),
    (
        "seed-vault",
        Language::Rust,
        include_str!("pull_requests/plans/seed-vault.plan"),
    ),
    (
        "parcel-desk",
        Language::Rust,
        include_str!("pull_requests/plans/parcel-desk.plan"),
    ),
    (
        "orchard",
        Language::Python,
        include_str!("pull_requests/plans/orchard.plan"),
    ),
    (
        "stage-lights",
        Language::Python,
        include_str!("pull_requests/plans/stage-lights.plan"),
    ),
    (
        "ferry-times",
        Language::Python,
        include_str!("pull_requests/plans/ferry-times.plan"),
    ),
    (
        "ledger-book",
        Language::Python,
        include_str!("pull_requests/plans/ledger-book.plan"),
    ),
    (
        "trail-map",
        Language::TypeScript,
        include_str!("pull_requests/plans/trail-map.plan"),
    ),
    (
        "recipe-box",
        Language::TypeScript,
        include_str!("pull_requests/plans/recipe-box.plan"),
    ),
    (
        "seat-plan",
        Language::TypeScript,
        include_str!("pull_requests/plans/seat-plan.plan"),
    ),
    (
        "quiz-night",
        Language::JavaScript,
        include_str!("pull_requests/plans/quiz-night.plan"),
    ),
    (
        "beehive",
        Language::Go,
        include_str!("pull_requests/plans/beehive.plan"),
    ),
    (
        "lock-keeper",
        Language::Go,
        include_str!("pull_requests/plans/lock-keeper.plan"),
    ),
    (
        "snow-plough",
        Language::Go,
        include_str!("pull_requests/plans/snow-plough.plan"),
    ),
    (
        "loom",
        Language::Java,
        include_str!("pull_requests/plans/loom.plan"),
    ),
    (
        "observatory",
        Language::Java,
        include_str!("pull_requests/plans/observatory.plan"),
    ),
    (
        "greenhouse",
        Language::C,
        include_str!("pull_requests/plans/greenhouse.plan"),
    ),
    (
        "rope-way",
        Language::C,
        include_str!("pull_requests/plans/rope-way.plan"),
    ),
    (
        "kiln",
        Language::Cpp,
        include_str!("pull_requests/plans/kiln.plan"),
    ),
];

/// Returns all fixtures, in a fixed order.
pub fn all() -> Vec<Fixture> {
    PLANS
        .iter()
        .map(|&(name, language, text)| {
            let plan = plan::parse(text);
            Fixture {
                name,
                language,
                before: writing::write(language, name, &plan.before),
                after: writing::write(language, name, &plan.after),
                title: plan.title,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Language, all};
    use simulator::repository::git;

    #[test]
    fn there_are_twenty_different_changes_in_all_languages() {
        let fixtures = all();
        assert_eq!(fixtures.len(), 20);
        let languages: BTreeSet<Language> =
            fixtures.iter().map(|fixture| fixture.language).collect();
        assert_eq!(languages.len(), 8);
        let titles: BTreeSet<&str> = fixtures
            .iter()
            .map(|fixture| fixture.title.as_str())
            .collect();
        assert_eq!(titles.len(), 20);
        assert_eq!(all(), fixtures);
    }

    #[tokio::test]
    async fn every_change_adds_and_modifies_and_most_delete_or_rename() {
        let folder = tempfile::tempdir().unwrap();
        let mut removals = 0;
        for fixture in all() {
            let repository = folder.path().join(fixture.name);
            let (base, head) = fixture.commit(&repository).await.unwrap();
            let listed = git(
                &repository,
                [
                    "diff-tree",
                    "-r",
                    "-M",
                    "--name-status",
                    base.as_str(),
                    head.as_str(),
                ],
            )
            .await
            .unwrap();
            let listed = String::from_utf8(listed).unwrap();
            let count = |letter: char| {
                listed
                    .lines()
                    .filter(|line| line.starts_with(letter))
                    .count()
            };
            assert!(
                count('A') >= 1 && count('M') >= 1,
                "{}: {listed}",
                fixture.name
            );
            let changed = listed.lines().count();
            assert!((3..=16).contains(&changed), "{}: {listed}", fixture.name);
            removals += usize::from(count('D') + count('R') > 0);
        }
        assert!(removals >= 16, "{removals}");
    }
}
