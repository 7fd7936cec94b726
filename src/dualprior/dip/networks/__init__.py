"""Networks for Deep Image Prior fits."""
