"""What a report says of an analysis: one module per analysis, one exhibit per question."""
