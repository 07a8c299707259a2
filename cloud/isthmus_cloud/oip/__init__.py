"""The Open Inference Protocol: whole models for standard clients, beside the split stream."""
