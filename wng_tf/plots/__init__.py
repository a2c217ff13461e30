"""From run folders to curves, intervals, tables and figures."""
