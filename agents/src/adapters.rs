//! The agents there are.
