"""Pure analyses: canonical tables in, small tables out."""
