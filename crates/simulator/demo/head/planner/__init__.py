"""Plans rounds."""
