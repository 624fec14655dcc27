"""The steps of a flow, a module each: what it takes and reads, and the function that makes its result."""
