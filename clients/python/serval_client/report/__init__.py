"""A drift report as a page that a person reads: one file, without anything from elsewhere."""
