//! One id type per kind of row, so that the compiler keeps them apart.

/// Declares id types over a time-ordered UUID (version 7, RFC 9562).
macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord,
            serde::Serialize, serde::Deserialize,
        )]
        #[cfg_attr(feature = "sea-orm", derive(sea_orm::DeriveValueType))]
        #[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
        #[serde(transparent)]
        pub struct $name(pub uuid::Uuid);

        impl $name {
            /// Returns a new id. Later ids sort after earlier ones.
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

        #[cfg(feature = "sea-orm")]
        impl sea_orm::TryFromU64 for $name {
            fn try_from_u64(_: u64) -> Result<Self, sea_orm::DbErr> {
                // A UUID key never comes from an auto-increment column.
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
    /// One job in the queue.
    JobId;
    /// One API token.
    TokenId;
    /// One address that is notified of finished tasks.
    WebhookId;
    /// One message to a webhook.
    DeliveryId;
    /// One entry of the audit log.
    AuditId;
}
