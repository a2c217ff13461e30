"""One module for each figure or table of the paper, and experiments of our own."""
