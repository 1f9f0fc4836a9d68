//! What the tests of several crates need.
