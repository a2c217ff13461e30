"""Policy gradients: surrogate x penalty x metric x step rule over one `learn`."""
