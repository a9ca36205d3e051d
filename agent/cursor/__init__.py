"""The host's mouse pointer: its shape, where it is and whether it is shown, for pages that draw it themselves."""
