"""How nodes talk to each other: addressed mailboxes, a small Protocol and its Redis implementation."""
