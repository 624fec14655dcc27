"""The same vectors through every engine, and the comparison."""
