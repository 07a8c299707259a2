"""How the tensors of a cut cross: steps, transforms, stages, what arrives."""
