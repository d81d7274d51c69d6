"""Numbers to pictures, tables and sentences."""
