"""What runs in Windows's own Python: tests of the Windows backends, and windows for them to work on."""
