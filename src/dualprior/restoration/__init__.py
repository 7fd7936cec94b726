"""Every method that restores an image, and the registry that knows them."""
