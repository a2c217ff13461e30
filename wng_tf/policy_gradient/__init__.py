"""Policy gradients: objective x preconditioner x step rule over one `learn`."""
