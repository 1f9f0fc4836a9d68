//! Pull requests and git: mirrors, checkouts, diffs and forges.
