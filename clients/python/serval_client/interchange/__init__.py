"""Models from and to where people keep them: MLflow's registry, Triton's model repository."""
