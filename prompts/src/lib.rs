//! What is said to agents: a template file per text, a struct per template.
