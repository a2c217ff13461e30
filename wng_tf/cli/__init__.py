"""The command line: what every command does around its `main`."""
