"""Where the pictures come from: one file per way to capture a screen."""
