"""Programs that make parts of the source."""
