//! Results of tasks: run statistics, result documents, the ranking and reports.
//!
//! Every figure that is shown comes from here, whether the API, the command line or a report shows
//! it. Nothing in this crate writes to the database.

pub mod run_stats;
pub mod scores;
pub mod ranking;
pub mod document;
pub mod load;
mod risk_coverage;
pub mod overall_document;
pub mod report;
