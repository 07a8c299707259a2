"""`isthmus bench scale`: replicas and front ends, measured here and simulated for large fleets."""
