"""Where rooms are kept: a small Protocol and its Redis implementation."""
