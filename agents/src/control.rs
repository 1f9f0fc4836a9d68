//! The control agents: agents whose right result is known beforehand.
