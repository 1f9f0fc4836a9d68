//! A type of its own for every kind of id, so that the compiler keeps them apart.

/// Declares id types over a time-ordered UUID (version 7).
macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord,
            serde::Serialize, serde::Deserialize, sea_orm::DeriveValueType,
        )]
        #[serde(transparent)]
        pub struct $name(pub uuid::Uuid);

        impl $name {
            /// A new id; later ids sort after earlier ones.
            pub fn new() -> Self {
                Self(uuid::Uuid::now_v7())
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new()
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }

        impl sea_orm::TryFromU64 for $name {
            fn try_from_u64(_: u64) -> Result<Self, sea_orm::DbErr> {
                // A UUID key is never the database's own counter.
                Err(sea_orm::DbErr::ConvertFromU64(stringify!($name)))
            }
        }
    )*};
}

ids! {
    /// A request to measure agents on one pull request.
    TaskId;
    /// One agent working through one trial of a task.
    RunId;
    /// One question with a known grading rule.
    ProbeId;
    /// One answer of one run to one probe under one arm.
    AnswerId;
    /// The figures of one run in one dimension.
    ScoreId;
    /// One judging of a task.
    JudgingId;
    /// The figures of one free recall.
    RecallId;
    /// One stored file.
    ArtifactId;
    /// One unit of work in the ledger.
    JobId;
    /// One token of a machine.
    TokenId;
    /// One address that is told of ends of tasks.
    WebhookId;
    /// One message to a webhook.
    DeliveryId;
    /// One change that somebody made.
    AuditId;
}
