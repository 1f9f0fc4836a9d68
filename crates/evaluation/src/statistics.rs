//! Statistics of small samples: intervals, differences, ranks, agreement.
//!
//! Every draw is determined by a seed. A figure that the data do not define is `None`, never 0.

mod summary;
mod agreement;
mod bootstrap;
mod clusters;
mod paired;
mod planning;
mod ranks;
mod risk_coverage;
mod wilson;

pub use agreement::{Agreement, cohens_kappa, krippendorff_alpha};
pub use bootstrap::{RESAMPLES, cluster_bootstrap, cluster_interval};
pub use clusters::{DesignEffect, Unit, by_unit, design_effect};
pub use paired::{Difference, Figure, Pair, compared, paired};
pub use planning::{POWER, sample_size, smallest_detectable};
pub use ranks::{RankInterval, rank_intervals};
pub use risk_coverage::{Claim, RiskCoverage, RiskPoint, risk_coverage};
pub use summary::{Interval, mean, standard_deviation};
pub use wilson::wilson;
