//! The closed vocabularies: every value that a column, an API field or an event may take.
//!
//! Each is written once, here. With the feature `sea-orm` a vocabulary is stored as text, with
//! `utoipa` and `schemars` it describes itself in the OpenAPI document and in JSON schemas.

use serde::{Deserialize, Serialize};

/// Declares vocabularies that are stored, sent and parsed as the same text.
macro_rules! vocabularies {
    ($($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)* })*) => {$(
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
        )]
        #[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
        #[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
        #[cfg_attr(
            feature = "sea-orm",
            derive(sea_orm::EnumIter, sea_orm::DeriveActiveEnum),
            sea_orm(rs_type = "String", db_type = "Text")
        )]
        pub enum $name {
            $(
                $(#[$vdoc])*
                #[cfg_attr(feature = "sea-orm", sea_orm(string_value = $text))]
                #[serde(rename = $text)]
                $variant,
            )*
        }

        impl $name {
            /// Every value, in the order in which values are shown.
            pub const ALL: [Self; [$($text),*].len()] = [$(Self::$variant,)*];

            /// Returns the text that is stored and sent.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = UnknownValue;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($text => Ok(Self::$variant),)*
                    _ => Err(UnknownValue {
                        value: text.to_owned(),
                        allowed: &[$($text,)*],
                    }),
                }
            }
        }
    )*};
}

/// A text that is not a value of its vocabulary.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{value:?} is none of {}", allowed.join(", "))]
pub struct UnknownValue {
    /// The text that was given.
    pub value: String,
    /// The values of the vocabulary.
    pub allowed: &'static [&'static str],
}

vocabularies! {
    /// Progress of a task.
    TaskStatus {
        Queued = "queued",
        Running = "running",
        Judging = "judging",
        Done = "done",
        Error = "error",
        Cancelled = "cancelled",
    }

    /// Progress of an agent run.
    RunStatus {
        Queued = "queued",
        Running = "running",
        Judging = "judging",
        Done = "done",
        Error = "error",
        Cancelled = "cancelled",
    }

    /// Progress of a judging.
    JudgingStatus {
        Queued = "queued",
        Done = "done",
        Error = "error",
    }

    /// State of a job in the queue.
    JobState {
        Queued = "queued",
        Leased = "leased",
        Done = "done",
        Failed = "failed",
        Cancelled = "cancelled",
    }

    /// Kind of work that a job does.
    JobKind {
        PrepareTask = "prepare_task",
        RunAgent = "run_agent",
        JudgeRun = "judge_run",
        FinishTask = "finish_task",
        /// Repeats the judging of a finished task.
        JudgeTask = "judge_task",
        /// Notifies a webhook of the end of a task.
        DeliverWebhook = "deliver_webhook",
    }

    /// Progress of a message to a webhook.
    DeliveryStatus {
        Queued = "queued",
        Delivered = "delivered",
        Failed = "failed",
    }

    /// Permissions of a caller. Each role includes the ones before it.
    Role {
        /// Reads.
        Viewer = "viewer",
        /// Starts and stops tasks.
        Member = "member",
        /// Manages tokens, webhooks and dead jobs.
        Admin = "admin",
    }

    /// Kind of caller that made a change.
    ActorKind {
        /// The only user of an installation without single sign-on.
        Local = "local",
        /// A user identified by the single sign-on gateway.
        User = "user",
        /// A machine with an API token.
        Token = "token",
        /// The service itself, such as a worker that disables a webhook.
        System = "system",
    }

    /// Party responsible for a run that ended without a measurement.
    FailureCause {
        /// The model provider: rate limit, outage, refused key.
        Provider = "provider",
        /// The agent itself.
        Agent = "agent",
        /// The orchestrator, its machine, or the source of the pull request.
        Harness = "harness",
        /// A user.
        Cancelled = "cancelled",
        /// A limit of turns, time, tokens or money.
        Budget = "budget",
    }

    /// Rubric dimension, as in MemoryAgentBench (ICLR 2026).
    Dimension {
        /// Accurate retrieval.
        Ar = "AR",
        /// Test-time learning.
        Ttl = "TTL",
        /// Long-range understanding.
        Lru = "LRU",
        /// Selective forgetting: the newer fact must win.
        Sf = "SF",
    }

    /// Condition under which a probe was answered.
    Arm {
        /// Answered by a session that never saw the pull request.
        Cold = "cold",
        /// Answered by a fork taken just before the break.
        Baseline = "baseline",
        /// Answered after the break.
        Post = "post",
    }

    /// Subject of a free-text answer.
    Topic {
        /// Everything that the agent remembers.
        FreeRecall = "free_recall",
        /// The purpose of the pull request.
        Purpose = "purpose",
        /// The risks of the pull request.
        Risks = "risks",
        /// The steps that undo the pull request.
        Rollback = "rollback",
    }

    /// Subject of an open question: a [`Topic`] other than free recall.
    OpenTopic {
        /// The purpose of the pull request.
        Purpose = "purpose",
        /// The risks of the pull request.
        Risks = "risks",
        /// The steps that undo the pull request.
        Rollback = "rollback",
    }

    /// The way in which a break is to be triggered.
    Trigger {
        Auto = "auto",
        Manual = "manual",
        AutoThenManual = "auto_then_manual",
    }

    /// Result of grading one answer.
    Verdict {
        /// Full marks.
        Right = "right",
        /// Partly right.
        Partial = "partial",
        /// A claim that is not true.
        Wrong = "wrong",
        /// A value that a later turn replaced.
        Stale = "stale",
        /// The agent said that it does not know.
        Abstained = "abstained",
        /// The reply contains no readable answer.
        Unreadable = "unreadable",
    }

    /// Source of a right answer after the break.
    Attribution {
        /// A tool was called while sealed: a violation that voids the run.
        Reread = "reread",
        /// The compaction summary carries the fact.
        Summary = "summary",
        /// The program put the source back: a file read again, a preserved tail or a memory file.
        Reinjected = "reinjected",
        /// The cold arm answered it correctly too.
        Guessable = "guessable",
        /// None of these: the answer is right, its source unknown.
        Model = "model",
    }

    /// Origin of a cost.
    CostSource {
        /// The agent's program reported it.
        Program = "program",
        /// Token counts multiplied by list prices.
        PriceTable = "price_table",
    }

    /// Severity of an event.
    Level {
        Debug = "DEBUG",
        Info = "INFO",
        Warning = "WARNING",
        Error = "ERROR",
    }
}

impl TaskStatus {
    /// Returns whether the status is final.
    pub fn is_final(self) -> bool {
        match self {
            Self::Queued | Self::Running | Self::Judging => false,
            Self::Done | Self::Error | Self::Cancelled => true,
        }
    }
}

impl RunStatus {
    /// Returns whether the status is final.
    pub fn is_final(self) -> bool {
        match self {
            Self::Queued | Self::Running | Self::Judging => false,
            Self::Done | Self::Error | Self::Cancelled => true,
        }
    }
}

impl From<OpenTopic> for Topic {
    fn from(topic: OpenTopic) -> Self {
        match topic {
            OpenTopic::Purpose => Self::Purpose,
            OpenTopic::Risks => Self::Risks,
            OpenTopic::Rollback => Self::Rollback,
        }
    }
}

impl Verdict {
    /// Returns whether the answer claims to know.
    pub fn claims(self) -> bool {
        match self {
            Self::Right | Self::Partial | Self::Wrong | Self::Stale => true,
            Self::Abstained | Self::Unreadable => false,
        }
    }
}
