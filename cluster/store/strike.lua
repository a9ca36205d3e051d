-- Nobody heard a message to this node.
-- ARGV: 6 the node
return strike(ARGV[6]) and 1 or 0
