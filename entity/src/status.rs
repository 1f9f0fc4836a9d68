//! The closed vocabularies that are stored in the tables.

use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};

/// Declares a vocabulary stored as text, written on the wire exactly as it is stored.
macro_rules! words {
    ($($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)* })*) => {$(
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord,
            Serialize, Deserialize, EnumIter, DeriveActiveEnum,
        )]
        #[sea_orm(rs_type = "String", db_type = "Text")]
        pub enum $name {
            $($(#[$vdoc])* #[sea_orm(string_value = $text)] #[serde(rename = $text)] $variant,)*
        }

        impl $name {
            /// Every word, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word as it is stored and sent.
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
            type Err = UnknownWord;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($text => Ok(Self::$variant),)*
                    _ => Err(UnknownWord { word: text.to_owned(), known: &[$($text,)*] }),
                }
            }
        }
    )*};
}

/// A word that is not in its vocabulary.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{word:?} is none of {}", known.join(", "))]
pub struct UnknownWord {
    /// What was given.
    pub word: String,
    /// What could have been given.
    pub known: &'static [&'static str],
}

words! {
    /// How far a task has come.
    TaskStatus {
        Queued = "queued",
        Running = "running",
        Judging = "judging",
        Done = "done",
        Error = "error",
        Cancelled = "cancelled",
    }

    /// How far an agent run has come.
    RunStatus {
        Queued = "queued",
        Running = "running",
        Judging = "judging",
        Done = "done",
        Error = "error",
        Cancelled = "cancelled",
    }

    /// How far a judging has come.
    JudgingStatus {
        Queued = "queued",
        Done = "done",
        Error = "error",
    }

    /// Where a unit of work stands in the ledger.
    JobState {
        Queued = "queued",
        Leased = "leased",
        Done = "done",
        Failed = "failed",
        Cancelled = "cancelled",
    }

    /// The stage that a unit of work is.
    JobKind {
        PrepareTask = "prepare_task",
        RunAgent = "run_agent",
        JudgeRun = "judge_run",
        FinishTask = "finish_task",
        /// Judges a finished task again.
        JudgeTask = "judge_task",
        /// Tells a webhook that a task ended.
        DeliverWebhook = "deliver_webhook",
    }

    /// How far a message to a webhook has come.
    DeliveryStatus {
        Queued = "queued",
        Delivered = "delivered",
        Failed = "failed",
    }

    /// What a caller may do; each may do what those before it may.
    Role {
        /// Reads.
        Viewer = "viewer",
        /// Starts and stops tasks.
        Member = "member",
        /// Manages tokens, webhooks and dead jobs.
        Admin = "admin",
    }

    /// Who made a change.
    ActorKind {
        /// The one user of an installation without single sign-on.
        Local = "local",
        /// A user that the gateway told of.
        User = "user",
        /// A machine with a token.
        Token = "token",
        /// The service by itself, such as a worker that turns a webhook off.
        System = "system",
    }

    /// Who is to blame when a run does not end with a measurement.
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

    /// A rubric dimension of MemoryAgentBench.
    Dimension {
        /// Accurate retrieval.
        Ar = "AR",
        /// Test-time learning.
        Ttl = "TTL",
        /// Long-range understanding.
        Lru = "LRU",
        /// Selective forgetting.
        Sf = "SF",
    }

    /// The condition under which a probe was answered.
    Arm {
        /// By a session that never saw the pull request.
        Cold = "cold",
        /// By a fork taken just before the break.
        Baseline = "baseline",
        /// After the break.
        Post = "post",
    }

    /// What a free text of a run was asked for.
    Topic {
        /// Everything that is remembered.
        FreeRecall = "free_recall",
        /// What the pull request is for.
        Purpose = "purpose",
        /// What it puts at risk.
        Risks = "risks",
        /// What has to be undone to take it back.
        Rollback = "rollback",
    }

    /// What is to bring the break about.
    Trigger {
        Auto = "auto",
        Manual = "manual",
        AutoThenManual = "auto_then_manual",
    }

    /// How an answer was judged.
    Verdict {
        /// Full marks.
        Right = "right",
        /// Some of it is right.
        Partial = "partial",
        /// A claim that is not true.
        Wrong = "wrong",
        /// A value that a later turn had replaced.
        Stale = "stale",
        /// The agent said that it does not know.
        Abstained = "abstained",
        /// There is no answer in the reply that could be read.
        Unreadable = "unreadable",
    }

    /// Where a right post-break answer came from.
    Attribution {
        /// A tool was called while sealed.
        Reread = "reread",
        /// The compaction's summary carries it.
        Summary = "summary",
        /// The program put its source back beside the summary.
        Reinjected = "reinjected",
        /// The cold arm had it right too.
        Guessable = "guessable",
        /// None of these.
        Model = "model",
    }

    /// How loud an event is.
    Level {
        Debug = "DEBUG",
        Info = "INFO",
        Warning = "WARNING",
        Error = "ERROR",
    }
}

impl TaskStatus {
    /// Whether nothing more will happen to the task.
    pub fn is_final(self) -> bool {
        match self {
            Self::Queued | Self::Running | Self::Judging => false,
            Self::Done | Self::Error | Self::Cancelled => true,
        }
    }
}

impl RunStatus {
    /// Whether nothing more will happen to the run.
    pub fn is_final(self) -> bool {
        match self {
            Self::Queued | Self::Running | Self::Judging => false,
            Self::Done | Self::Error | Self::Cancelled => true,
        }
    }
}
