"""Of all tests."""


def pytest_collection_modifyitems(items):
    """The file that takes longest comes first, so that the others run beside it."""
    items.sort(key=lambda item: item.path.name != "test_smoke.py")
