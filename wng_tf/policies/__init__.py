"""Policies of both families: networks, action heads, what is kept of a policy in a checkpoint, and its exported form.

`network` and `heads` act in NumPy; what needs TensorFlow is in `tensors`, `scores` and `exported`, and in those functions of
a head that take tensors.
"""
