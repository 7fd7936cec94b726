"""Wide experiments beside the default one: a package each, whose pipeline is studies/<name>/dvc.yaml."""
