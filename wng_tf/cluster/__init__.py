"""Work on many machines: actors that may be lost, and what they were doing done again to the same bits.

`crew` and `vec_env` are the logic, which knows no Ray: they drive any `engine.Engine`. `ray_actors` is Ray's.
"""
