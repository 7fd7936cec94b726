"""Property tests draw the same examples in every run and have no time limit of their own."""

from hypothesis import settings

settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")
