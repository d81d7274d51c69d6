"""The loop of mending: the fix list goes out as a workbook, comes back, and becomes an update file."""
