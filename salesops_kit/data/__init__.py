"""From CRM exports to a validated snapshot, cut by team and date."""
