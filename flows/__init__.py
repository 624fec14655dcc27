"""The flow manager: stages, cache, command line and regression."""
