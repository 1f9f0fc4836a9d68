//! Run statistics, result documents, the ranking and reports.
