//! The result document of a task: one JSON document, schema 1.
//!
//! It only grows within one schema number. A figure that is not defined or not known is null,
//! never 0.

pub(crate) mod rows;

use std::collections::BTreeMap;

use domain::vocabulary::{FailureCause, TaskStatus};
use entity::TaskId;
use evaluation::leaderboard::Estimate;
use evaluation::statistics::{DesignEffect, Unit};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(crate) use rows::answers::claims;
pub(crate) use rows::board::{ranking_identity, ranking_judge, row_part};
pub use rows::result_document;

/// The whole result of a task. Only grows within one schema number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ResultDocument {
    pub schema: u32,
    pub task: TaskPart,
    /// Agents asked a model stub: the figures say nothing of any model.
    #[serde(default)]
    pub model_stub: bool,
    pub runs: Vec<RunPart>,
    /// The agents that are ranked, best first.
    pub leaderboard: Vec<RowPart>,
    /// The agents that are not ranked, each with its reason: no run is a measurement, or more than
    /// half of its attempts failed.
    #[serde(default)]
    pub unranked_agents: Vec<RowPart>,
    /// What is not the same for all ranked agents, beside their own versions and models.
    #[serde(default)]
    pub differs: Vec<String>,
    /// Every two agents on the same probes, in the order of the leaderboard.
    #[serde(default)]
    pub comparisons: Vec<ComparisonPart>,
    /// Agent → how its errors grow with what it claims to know.
    #[serde(default)]
    pub risk_coverage: BTreeMap<String, RiskCoveragePart>,
    /// Who judged, and how good a judge each is.
    #[serde(default)]
    pub judging: JudgingPart,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TaskPart {
    #[schemars(with = "String")]
    pub id: TaskId,
    #[schemars(with = "String")]
    pub status: TaskStatus,
    pub repo: String,
    pub pr_url: String,
    pub base: Option<String>,
    pub head: Option<String>,
    pub seed: i64,
    pub trials: i32,
    pub pass_mark: f64,
    pub instrument_version: String,
    pub probe_set_hash: Option<String>,
    pub prompt_hash: Option<String>,
    /// Dimension → number of probes.
    pub probes: BTreeMap<String, usize>,
    /// Breaks per run that were asked for.
    #[serde(default = "one")]
    pub breaks: u32,
    /// Closed probes of one prompt, in all arms.
    #[serde(default = "one")]
    pub probes_per_prompt: u32,
    /// Whether purpose, risks and rollback were asked about too.
    #[serde(default)]
    pub open_questions: bool,
    /// What was to bring the break about: `auto`, `manual` or `auto_then_manual`.
    #[serde(default)]
    pub trigger: Option<String>,
    /// Where the probes come from: `generated`, or `imported` with a question bank that somebody
    /// chose. Imported ones are kept apart from leaderboards over tasks.
    #[serde(default)]
    pub question_bank: Option<String>,
    /// How many probes of each kind were made, and what was dropped and why.
    #[serde(default)]
    pub generator: Option<evaluation::probe::GeneratorReport>,
    pub changed_files: Vec<String>,
    pub dropped_files: serde_json::Value,
    pub error: Option<String>,
}

fn one() -> u32 {
    1
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunPart {
    #[schemars(with = "String")]
    pub id: entity::RunId,
    pub agent: String,
    pub agent_version: Option<String>,
    /// What the agent asks; none where only its program knows.
    #[serde(default)]
    pub model: Option<String>,
    /// SHA-256 of everything that must be the same for two runs to be comparable.
    #[serde(default)]
    pub manifest_hash: Option<String>,
    /// What that is of: name and value.
    #[serde(default)]
    pub manifest: BTreeMap<String, String>,
    pub trial: i32,
    #[schemars(with = "String")]
    pub status: domain::vocabulary::RunStatus,
    #[schemars(with = "Option<String>")]
    pub failure_cause: Option<FailureCause>,
    pub error: Option<String>,
    pub retry_count: i32,
    pub compression_detected: bool,
    pub seal_broken: bool,
    /// What made the run void, where `seal_broken` is true: `tool_call`, `canary`, or `compaction`,
    /// where the conversation was compacted while it was asked.
    #[serde(default)]
    pub void_reason: Option<String>,
    /// How far the sessions that are asked are sealed: `full` (no tools, no workspace),
    /// `permissions` (no workspace; tools are offered and refused), or `workspace` (asked in the
    /// main line, which keeps its tools and finds its workspace empty).
    #[serde(default)]
    pub seal: Option<String>,
    pub baseline: Option<String>,
    /// Dimension → how many of its probes are asked before and after the break, where the baseline
    /// is split. A half without probes has no grade.
    #[serde(default)]
    pub halves: BTreeMap<String, HalvesPart>,
    /// The breaks that the run was to go through: one where the baseline is split, whatever the task
    /// asks for.
    #[serde(default)]
    pub breaks_planned: Option<u32>,
    pub breaks: Vec<BreakPart>,
    /// What was taught when, by turn of the main line.
    #[serde(default)]
    pub planted: Vec<PlantedPart>,
    /// Where the right answers from after the break came from: attribution → count.
    #[serde(default)]
    pub attribution: BTreeMap<String, usize>,
    /// How many of the probes asked after the break the compaction's summary carries; none where
    /// the program does not show its summary.
    #[serde(default)]
    pub summary_carries: Option<usize>,
    /// The agent asked a model stub: the figures say nothing of any model.
    #[serde(default)]
    pub model_stub: bool,
    /// What all turns of the run were billed for; none where one of them did not tell.
    #[serde(default)]
    pub tokens: Option<TokensPart>,
    /// US dollars; none where the cost of one turn is not known.
    #[serde(default)]
    pub cost_usd: Option<f64>,
    /// `program`, `price_table` or `mixed`.
    #[serde(default)]
    pub cost_source: Option<String>,
    /// The figures of the first break: the score.
    pub dimensions: BTreeMap<String, DimensionPart>,
    /// The figures of every break, by its number: the forgetting curve.
    #[serde(default)]
    pub by_break: Vec<BreakFiguresPart>,
    /// What the answers after the first break claim.
    #[serde(default)]
    pub honesty: Option<HonestyPart>,
    /// Free recall as claims against the fact sheet, by arm, break and judge.
    #[serde(default)]
    pub recall: Vec<RecallPart>,
    /// Answers to open questions as claims against facts, by topic, arm, break and judge; no part of
    /// any score, which must not depend on whether there is a jury.
    #[serde(default)]
    pub open: Vec<OpenPart>,
    /// The size of the context after every turn of the main line.
    #[serde(default)]
    pub context: Vec<ContextPoint>,
    /// Whether the random token that only a forbidden read reveals stayed unseen: `unseen`,
    /// `seen`, or none where the run did not come that far.
    #[serde(default)]
    pub canary: Option<String>,
    pub overall_score: Option<f64>,
    pub passed: Option<bool>,
    pub duration_ms: Option<u64>,
}

/// The two halves of a split baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HalvesPart {
    pub before: usize,
    pub after: usize,
}

/// What was taught in one turn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlantedPart {
    /// The number of the turn, as in `context`.
    pub turn: u32,
    /// The context after it; none where the program did not tell.
    pub tokens: Option<u64>,
    /// The labels of the probes that ask for it.
    pub probes: Vec<String>,
}

/// How far something taught was from a break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DistancePart {
    /// Turns of the main line after the one that said it last, up to the break.
    pub turns: usize,
    /// By how much the context had grown since; none where that is not known, and after the first
    /// break, which took part of it away.
    pub tokens: Option<u64>,
}

impl RunPart {
    /// How far what a probe asks for was from a break; none for what was not taught.
    pub(crate) fn distance(&self, probe: &str, break_index: u32) -> Option<DistancePart> {
        let planted = self
            .planted
            .iter()
            .rev()
            .find(|planted| planted.probes.iter().any(|label| label == probe))?;
        let broke = self
            .context
            .iter()
            .find(|point| point.break_index == Some(break_index))?;
        let turns = self
            .context
            .iter()
            .filter(|point| point.turn > planted.turn && point.turn < broke.turn)
            .filter(|point| point.break_index.is_none())
            .count();
        let seen = self.breaks.first().filter(|_| break_index == 1);
        let before = seen.and_then(|seen| seen.tokens_before);
        Some(DistancePart {
            turns,
            tokens: before
                .zip(planted.tokens)
                .and_then(|(before, then)| before.checked_sub(then)),
        })
    }
}

/// The figures of one break of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BreakFiguresPart {
    /// From 1.
    #[serde(rename = "break")]
    pub index: u32,
    pub dimensions: BTreeMap<String, DimensionPart>,
    /// What is left, after this break, of what was known before the first one:
    /// `(post - cold) / (first baseline - cold)`, mean of the dimensions where it is defined.
    pub kept_of_first: Option<f64>,
}

/// What the answers of a run after its first break claim.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HonestyPart {
    pub answers: usize,
    /// Claim to know.
    pub claimed: usize,
    /// Claim to know, and are right.
    pub right: usize,
    /// Claim to know, and are right in part.
    #[serde(default)]
    pub partial: usize,
    /// Claim to know, and are wrong: nothing of it is right.
    pub wrong: usize,
    /// Claim a value that was replaced.
    pub stale: usize,
    /// Say that they do not know.
    pub abstained: usize,
    /// Say nothing that can be read.
    pub unreadable: usize,
    /// State how sure they are.
    pub with_confidence: usize,
}

/// One free recall, judged by one judge (or by the jury).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RecallPart {
    /// `baseline` or `post`.
    pub arm: String,
    #[serde(rename = "break")]
    pub index: u32,
    /// `deterministic/1`, a model, or `jury`.
    pub judge: String,
    /// Facts of the sheet that were looked for.
    pub facts: usize,
    /// Facts that the text says something about.
    pub claimed: usize,
    /// Facts that it says rightly.
    pub right: usize,
    /// Facts for which the judge gave no readable verdict.
    pub ungraded: usize,
    /// right / claimed.
    pub precision: Option<f64>,
    /// right / judged.
    pub recall: Option<f64>,
    /// How many jurors voted, where this is the jury.
    #[serde(default)]
    pub jurors: Option<usize>,
    /// Why there are no figures.
    #[serde(default)]
    pub note: Option<String>,
}

/// One answer to an open question, judged by one model (or by the jury).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OpenPart {
    /// `purpose`, `risks` or `rollback`.
    pub topic: String,
    /// `cold`, `baseline` or `post`.
    pub arm: String,
    /// From 1; 0 in the cold arm.
    #[serde(rename = "break")]
    pub index: u32,
    /// A model, or `jury`; `none` where there was no model that could judge it.
    pub judge: String,
    /// Facts on the topic that were looked for.
    pub facts: usize,
    /// Facts that the text says something about.
    pub claimed: usize,
    /// Facts that it says rightly.
    pub right: usize,
    /// Facts for which there is no readable verdict.
    pub ungraded: usize,
    /// right / claimed.
    pub precision: Option<f64>,
    /// right / judged.
    pub recall: Option<f64>,
    /// How many jurors voted, where this is the jury.
    #[serde(default)]
    pub jurors: Option<usize>,
    /// Why there are no figures.
    #[serde(default)]
    pub note: Option<String>,
}

/// The context of the main line after one turn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ContextPoint {
    /// From 1, over the whole run.
    pub turn: u32,
    pub phase: String,
    /// None where the program did not tell.
    pub tokens: Option<u64>,
    /// The break that came in this turn.
    #[serde(rename = "break", default)]
    pub break_index: Option<u32>,
}

/// Two agents on the same probes after the break.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ComparisonPart {
    pub a: String,
    pub b: String,
    /// Probes that both were asked in the same trial.
    pub pairs: usize,
    /// Trials that both ran.
    pub clusters: usize,
    /// Mean grade of `a` minus mean grade of `b`, with its 95 % interval.
    pub difference: Estimate,
    /// The interval covers 0, or there is none.
    pub tie: bool,
    /// The smallest difference that so many clusters could have shown (two-sided 5 %, power 80 %).
    pub smallest_detectable: Option<f64>,
}

/// How the errors of an agent grow with what it claims to know.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RiskCoveragePart {
    pub points: Vec<RiskPointPart>,
    /// Area under the curve; none for a single point.
    pub area: Option<f64>,
}

/// One point of a risk-coverage curve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RiskPointPart {
    /// Share of all questions that are answered at this confidence or more.
    pub coverage: f64,
    /// Share of the answered that is not right.
    pub risk: f64,
    /// In `[0, 1]`; none where none was stated.
    pub least_confidence: Option<f64>,
}

/// How a task was judged.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JudgingPart {
    /// From 1; judging again adds one and keeps what was there.
    pub number: u32,
    pub judges: Vec<JudgePart>,
    /// Agreement of the jurors that may rank: Cohen's kappa of two, Krippendorff's alpha of more; none
    /// with fewer.
    pub agreement: Option<AgreementPart>,
}

/// One judge, or the jury of those that may rank, and how it did on the adversarial battery.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JudgePart {
    pub name: String,
    pub model: Option<String>,
    /// SHA-256 of the templates that it is asked with.
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
    /// Why not.
    pub why: Option<String>,
    /// What the battery was billed for: zero where what it found for an earlier task was taken.
    pub tokens: Option<TokensPart>,
    pub cost_usd: Option<f64>,
    /// What the votes of this judging were billed for; none where a reply did not tell.
    #[serde(default)]
    pub votes_tokens: Option<TokensPart>,
    #[serde(default)]
    pub votes_cost_usd: Option<f64>,
    /// The family of its model; none where it is not known.
    #[serde(default)]
    pub family: Option<String>,
    /// How many may rank, where this is the jury.
    #[serde(default)]
    pub jurors: Option<usize>,
    /// SHA-256 of the battery.
    #[serde(default)]
    pub battery: Option<String>,
    /// When the battery was run.
    #[serde(default)]
    pub tried_at: Option<String>,
}

/// Agreement of the jurors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AgreementPart {
    /// `krippendorff_alpha` or `cohens_kappa`.
    pub measure: String,
    pub value: Estimate,
    pub items: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BreakPart {
    pub trigger: String,
    pub tokens_before: Option<u64>,
    pub tokens_after: Option<u64>,
    /// The program's own threshold was lowered for it.
    #[serde(default)]
    pub forced: bool,
    /// The workspace was empty.
    #[serde(default)]
    pub sealed: bool,
    /// Turns of reading that were over before it, since the teaching or the break before. 0: what
    /// was taught last may stand in what the program keeps word for word.
    #[serde(default)]
    pub reading_turns: Option<u32>,
    /// `reported` by the program, or `structural`: seen by the size of the context.
    #[serde(default)]
    pub proof: Option<String>,
    /// The artifact with the text that the compaction kept.
    #[serde(default)]
    pub summary_artifact: Option<String>,
    /// What the program put back beside it.
    #[serde(default)]
    pub reinjected: Vec<ReinjectedPart>,
}

/// Something that a program put back at a compaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReinjectedPart {
    /// `file`, `tail` or `memory`.
    pub kind: String,
    pub name: Option<String>,
    pub chars: u64,
}

/// Tokens that were billed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokensPart {
    /// All that was sent, cached or not.
    pub input: u64,
    /// The part of `input` that came from a cache.
    pub cached: u64,
    pub output: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DimensionPart {
    pub n: usize,
    pub cold: Option<f64>,
    pub baseline: Option<f64>,
    pub post: Option<f64>,
    pub retention: Option<f64>,
    /// Probes that were right before the break and asked again after it.
    #[serde(default)]
    pub known: Option<usize>,
    /// Those of them that are right after it.
    #[serde(default)]
    pub kept: Option<usize>,
    pub item_retention: Option<f64>,
    pub stale_rate: Option<f64>,
    pub abstained_rate: Option<f64>,
    /// Claims something untrue, and nothing of what is asked. Right answers and the rates are all.
    pub wrong_rate: Option<f64>,
    /// Right in part; none in scores of older versions.
    #[serde(default)]
    pub partial_rate: Option<f64>,
    /// Says nothing that can be read; none in scores of older versions.
    #[serde(default)]
    pub unreadable_rate: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RowPart {
    /// From 1; agents with equal scores share a rank. None only in `unranked_agents`.
    pub rank: Option<usize>,
    /// Why it is not ranked.
    #[serde(default)]
    pub why_unranked: Option<String>,
    pub agent: String,
    /// Runs that count: the measurements.
    pub trials: usize,
    /// Measurements, and failures that the agent caused. Nothing else is an attempt of the agent.
    #[serde(default)]
    pub attempts: Option<usize>,
    /// The failures that the agent caused, as a share of its attempts, with Wilson's 95 % interval.
    #[serde(default)]
    pub failure_rate: Estimate,
    /// What the intervals resample: the `session`, or the `pull_request` as soon as there are two.
    #[serde(default)]
    pub unit: Unit,
    /// Pull requests that the measurements stand on.
    #[serde(default)]
    pub pull_requests: Option<usize>,
    /// How much less the overall scores say because sessions share their pull requests; none on one.
    #[serde(default)]
    pub design_effect: Option<DesignEffect>,
    pub overall_score: Option<f64>,
    pub scores: BTreeMap<String, Option<f64>>,
    /// Dimensions that were asked for and have no probe: neither part of the overall score nor of
    /// what is to be passed.
    #[serde(default)]
    pub dimensions_without_probes: Vec<String>,
    /// The overall score with its 95 % interval.
    #[serde(default)]
    pub score: Estimate,
    pub retention: Estimate,
    /// P(right after | right before), with its 95 % interval.
    #[serde(default)]
    pub item_retention: Estimate,
    /// The best rank that the data do not exclude, by pairwise differences at 95 % (Bonferroni over an
    /// agent's comparisons); none with a single trial.
    #[serde(default)]
    pub rank_low: Option<usize>,
    /// The worst such rank.
    #[serde(default)]
    pub rank_high: Option<usize>,
    /// Mean recall of the jury, or of the deterministic judge; none where no judge may rank.
    #[serde(default)]
    pub recall: Option<f64>,
    /// The same with its 95 % interval.
    #[serde(default)]
    pub free_recall: Estimate,
    /// Cause → runs that ended without a measurement. Only `agent` counts against the agent.
    #[serde(default)]
    pub failures: BTreeMap<String, usize>,
    /// Reason → runs that came to their end and are no measurement, in no other figure of the row.
    #[serde(default)]
    pub void: BTreeMap<String, usize>,
    /// What is not the same in all runs of the row, such as `agent.version`: they were averaged all
    /// the same.
    #[serde(default)]
    pub differs: Vec<String>,
    pub passed: bool,
}
