"""Own data to a first report: one downloaded file recognised, imported and published."""
