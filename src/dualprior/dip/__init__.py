"""The untrained prior: fits to one measurement, their running error, and when to stop."""
