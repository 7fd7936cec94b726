"""What results are worth: metrics, comparisons, tables, figures."""
