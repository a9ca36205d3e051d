"""The signaling protocol as plain values and state machines, shared with the agent."""
