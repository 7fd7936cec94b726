"""The wide study of the hybrid: more crops, several seeds, weaker priors, and every knob."""
