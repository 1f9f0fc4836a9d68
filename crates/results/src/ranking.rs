//! The ranking: which runs are measurements, which runs a leaderboard leaves out, and the
//! leaderboards of one task and over all tasks.
//!
//! The API, the command line and reports call the same functions. A caller only loads rows:
//!
//! ```text
//! tasks = filter.select_tasks(database, query)      // ended tasks within the limits (all tasks only)
//! query = RunRow::select(query);                    // columns of agent_run
//! query = TaskRow::select(query);                   // columns of a joined task (all tasks only)
//! scores = StoredScore::COLUMNS                     // first break, shown judging
//! run    = row.into_ranked(&task, scores)           // one RankedRun per row
//! run.recall = recalls.remove(&run.id)              // from `ranking_recalls` (all tasks only)
//! task_leaderboard(runs, pass_mark, seed)           // agents of one task
//! overall_leaderboard(runs, &options)               // agents over all tasks
//! ```

mod run;
mod rows;
mod recall;
mod task;
mod overall;
mod selection;

pub use overall::{OverallLeaderboard, OverallOptions, overall_leaderboard};
pub use recall::{RankedRecall, RecallRow, ranking_recalls};
pub(crate) use rows::{INSTRUMENT_VERSION_FIELD, is_stub};
pub use rows::{RunRow, TaskRow};
pub use run::{RankedRun, RunState, duration_ms, manifest_fields};
pub use selection::{OverallFilter, SelectedTasks};
pub use task::{TaskLeaderboard, UnrankedRun, task_leaderboard};
