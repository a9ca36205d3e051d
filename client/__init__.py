"""The web page; its files are found by importlib.resources in checkout and wheel alike."""
