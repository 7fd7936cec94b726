"""One module a stage of dvc.yaml: reads files, calls the library, writes files."""
