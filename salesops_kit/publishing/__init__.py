"""Plans in, published HTML reports out."""
