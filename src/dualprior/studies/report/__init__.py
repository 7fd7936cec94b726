"""The written report, made from the metrics: laws and frames are computed, the pages are rendered."""
