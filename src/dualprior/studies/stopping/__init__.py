"""When to stop a Deep Image Prior: every rule on the same kept fits, over networks, noises and tasks."""
