"""What a flow tells: the report's figures and pages, its JSON schema, and the committed baselines."""
