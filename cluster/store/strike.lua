-- Nobody heard a message to this node.
-- ARGV: 5 the node
return strike(ARGV[5]) and 1 or 0
