"""The sections of params.yaml, one module each, so that a new parameter makes only the stages that read it stale."""
