//! The doorbell over Redis: apalis with apalis-redis.
