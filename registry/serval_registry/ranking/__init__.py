"""What a search is made of: parts that each say how like the query a version is, and the mean of what they say."""
