"""The trained model for other libraries: folders that need torch and that library, and nothing of dualprior."""
