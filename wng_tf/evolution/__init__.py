"""Evolution strategies: repulsion x preconditioner over one `learn` (`wng_tf.evolution.learn`)."""
