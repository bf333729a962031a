"""Finding models: what is asked, and what comes back."""
