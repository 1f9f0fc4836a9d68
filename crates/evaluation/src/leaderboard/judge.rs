//! Decides which judge's verdict on free recall is on a leaderboard.

use serde::Deserialize;

use crate::grading::GRADER;

/// Properties of a judge.
#[derive(Clone, Debug, Deserialize)]
pub struct Judge {
    pub name: String,
    /// `None` for the deterministic judge.
    pub model: Option<String>,
    /// Whether its figures on the adversarial battery allow it to rank agents.
    pub may_rank: bool,
    /// SHA-256 of its prompt templates.
    #[serde(default)]
    pub prompt_version: Option<String>,
}

/// Name of the manifest entry for the judge of free recall.
pub const RECALL_JUDGE: &str = "free_recall_judge";

/// Returns the identity of the judge whose recall is on the leaderboard: its models and prompts.
/// For a jury, those of all jurors that may rank.
pub fn ranking_identity(judges: &[Judge]) -> Option<String> {
    let ranking = ranking_judge(judges.iter().cloned())?;
    let mut of: Vec<String> = judges
        .iter()
        .filter(|judge| judge.model.is_some() && judge.may_rank)
        .filter(|judge| ranking == JURY || judge.name == ranking)
        .map(|judge| {
            let model = judge.model.as_deref().unwrap_or_default();
            let prompts = judge.prompt_version.as_deref().unwrap_or("?");
            let prompts = prompts.get(..8).unwrap_or(prompts);
            format!("{} ({model}, prompts {prompts})", judge.name)
        })
        .collect();
    of.sort();
    Some(if of.is_empty() {
        ranking
    } else if ranking == JURY {
        format!("{ranking} of {}", of.join(" and "))
    } else {
        of.join(" and ")
    })
}

/// Name of the joint verdicts of several models.
pub const JURY: &str = "jury";

/// Returns the judge whose recall is on the leaderboard: the jury if models judge, otherwise the
/// deterministic judge. Returns `None` if the jury may not rank.
///
/// A jury has one juror or more, so that an agent of the same family as one of two jurors has
/// figures of the other. Older judgings without juries of one are ranked by their only member.
pub fn ranking_judge(judges: impl IntoIterator<Item = Judge>) -> Option<String> {
    let judges: Vec<Judge> = judges.into_iter().collect();
    if let Some(jury) = judges.iter().find(|judge| judge.name == JURY) {
        return jury.may_rank.then(|| JURY.to_owned());
    }
    let models: Vec<Judge> = judges
        .into_iter()
        .filter(|judge| judge.model.is_some())
        .collect();
    if models.is_empty() {
        return Some(GRADER.to_owned());
    }
    let mut ranking = models.into_iter().filter(|judge| judge.may_rank);
    match (ranking.next(), ranking.next()) {
        (None, _) => None,
        (Some(only), None) => Some(only.name),
        (Some(_), Some(_)) => Some(JURY.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Judge, ranking_identity, ranking_judge};

    #[test]
    fn only_judges_that_may_rank_count() {
        let judge = |name: &str, model: bool, may_rank| Judge {
            name: name.to_owned(),
            model: model.then(|| name.to_owned()),
            may_rank,
            prompt_version: Some("0123456789abcdef".to_owned()),
        };
        let plain = judge("deterministic/1", false, true);
        let found = |judges: &[Judge]| ranking_judge(judges.to_vec());
        assert_eq!(found(&[]).as_deref(), Some("deterministic/1"));
        assert_eq!(
            found(std::slice::from_ref(&plain)).as_deref(),
            Some("deterministic/1")
        );
        let (a, b, c) = (
            judge("a", true, true),
            judge("b", true, true),
            judge("c", true, false),
        );
        assert_eq!(
            found(&[plain.clone(), a.clone(), c.clone()]).as_deref(),
            Some("a")
        );
        let jury = |may_rank| judge("jury", false, may_rank);
        let with_jury = |may_rank| found(&[plain.clone(), a.clone(), jury(may_rank)]);
        assert_eq!(with_jury(true).as_deref(), Some("jury"));
        assert_eq!(with_jury(false), None);
        assert_eq!(
            found(&[plain.clone(), a.clone(), b]).as_deref(),
            Some("jury")
        );
        assert_eq!(found(&[plain.clone(), c.clone()]), None);
        let identity = |judges: &[Judge]| ranking_identity(judges);
        assert_eq!(
            identity(std::slice::from_ref(&plain)).as_deref(),
            Some("deterministic/1")
        );
        assert_eq!(
            identity(&[plain.clone(), a.clone(), c, jury(true)]).as_deref(),
            Some("jury of a (a, prompts 01234567)")
        );
        assert_eq!(identity(&[plain, a, jury(false)]), None);
    }
}
