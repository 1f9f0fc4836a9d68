//! The judging of a task in its result document.

use domain::Tokens;
use evaluation::leaderboard::{Estimate, Judge, ranking_identity, ranking_judge};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The judging of a task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JudgingPart {
    /// Number of the judging, from 1. Judging again adds one and keeps the earlier ones.
    pub number: u32,
    /// Judges, and the jury of those that may rank.
    pub judges: Vec<JudgePart>,
    /// Agreement of the jurors that may rank: Cohen's kappa for two, Krippendorff's alpha for more;
    /// null with fewer.
    pub agreement: Option<AgreementPart>,
}

impl JudgingPart {
    /// Returns the judge whose free recall is on the leaderboard.
    pub fn ranking_judge(&self) -> Option<String> {
        ranking_judge(self.judges())
    }

    /// Returns the identity of that judge, by which judges of different tasks are compared.
    pub fn ranking_identity(&self) -> Option<String> {
        ranking_identity(&self.judges())
    }

    fn judges(&self) -> Vec<Judge> {
        self.judges
            .iter()
            .map(|judge| Judge {
                name: judge.name.clone(),
                model: judge.model.clone(),
                may_rank: judge.may_rank,
                prompt_version: judge.prompt_version.clone(),
            })
            .collect()
    }
}

/// One judge, or the jury of those that may rank, with its results on the adversarial battery.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JudgePart {
    pub name: String,
    pub model: Option<String>,
    /// SHA-256 of the judge's prompt templates.
    pub prompt_version: Option<String>,
    /// Share of the battery's wrong claims that it accepts, with its 95 % Wilson interval.
    pub false_accept: Estimate,
    /// Share of the battery's right claims that it rejects, with its 95 % Wilson interval.
    pub false_reject: Estimate,
    /// Cases of the battery.
    pub cases: usize,
    /// Cases without a readable verdict.
    pub unread: usize,
    /// Whether its figures may rank agents.
    pub may_rank: bool,
    /// Reason why they may not.
    pub why: Option<String>,
    /// Tokens billed for the battery: zero if the result of an earlier task was reused.
    pub tokens: Option<Tokens>,
    /// Cost of the battery in US dollars.
    pub cost_usd: Option<f64>,
    /// Tokens billed for the votes of this judging, null if a reply did not report them.
    #[serde(default)]
    pub votes_tokens: Option<Tokens>,
    /// Cost of the votes in US dollars.
    #[serde(default)]
    pub votes_cost_usd: Option<f64>,
    /// Family of its model, null if it is unknown.
    #[serde(default)]
    pub family: Option<String>,
    /// Number of jurors that may rank, if this is the jury.
    #[serde(default)]
    pub jurors: Option<usize>,
    /// SHA-256 of the battery.
    #[serde(default)]
    pub battery: Option<String>,
    /// Time at which the battery was run.
    #[serde(default)]
    pub tried_at: Option<String>,
}

/// Agreement of the jurors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AgreementPart {
    /// `krippendorff_alpha` or `cohens_kappa`.
    pub measure: String,
    pub value: Estimate,
    /// Number of facts that were judged.
    pub items: usize,
}
