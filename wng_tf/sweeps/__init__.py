"""Many runs side by side: the grid, one run in its process, two engines, progress, and the tables at the end."""
