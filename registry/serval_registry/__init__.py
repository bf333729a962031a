"""What is kept: models, versions, artifacts, baselines, vectors."""
