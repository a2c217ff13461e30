"""Where Baselines keeps the monitor."""

from baselines_compat.monitor import LoadMonitorResultsError, Monitor, ResultsWriter, get_monitor_files, load_results

__all__ = ["LoadMonitorResultsError", "Monitor", "ResultsWriter", "get_monitor_files", "load_results"]
