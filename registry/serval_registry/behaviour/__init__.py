"""How versions behave: what models of the same features answer on the same rows, and how alike their answers are."""
