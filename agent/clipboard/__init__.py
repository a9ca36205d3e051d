"""Text between the host's clipboard and the page's, by the user's act only."""
