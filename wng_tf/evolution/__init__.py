"""Evolution strategies: repulsion x metric over one `learn` (`wng_tf.evolution.learn`)."""
