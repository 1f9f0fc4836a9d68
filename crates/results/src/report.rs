//! Reports for people and for other programs.
//!
//! HTML and Markdown have the same contents, CSV has the figures, SVG has the plots. A figure that is
//! not defined is shown as "–".

mod csv;
mod format;
mod html;
mod markdown;
mod model;
mod plots;
mod schema;
mod sections;
mod svg;

pub use csv::{overall_csv, task_csv};
pub use html::html;
pub use markdown::{markdown, markdown_without_plots};
pub use model::{Part, Plot, Report, Section, Table};
pub use plots::task_plots;
pub use schema::{overall_schema, result_schema};
pub use sections::{overall_report, task_report};
