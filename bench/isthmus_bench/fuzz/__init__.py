"""Mutated frames for the wire's decoder: `scripts/fuzz`, and a few in `isthmus bench wire`.

`plan` has every encoding, `honest` frames of it, `mutations` what a stranger makes of them,
`fuzzing` tries and judges them, `workers` in processes of their own.
"""
