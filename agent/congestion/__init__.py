"""How fast to send: controllers fed with values, without a clock."""
