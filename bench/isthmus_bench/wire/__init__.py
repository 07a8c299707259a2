"""The wire's bench: every codec on the same cut tensors of real networks and real pictures.

`subjects` gives the networks, their inputs, the tensors at their cuts and the score of an answer.
"""

__all__: list[str] = []
