"""What the training runs of both families share."""
