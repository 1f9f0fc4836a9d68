//! Runs an agent's program: its own process group, a cleared environment, limits.
