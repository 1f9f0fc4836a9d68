//! The doorbell inside one process: apalis with its memory backend.
