"""What a company decides about its data as data: checks, the sales process, segments."""
