"""How many interactions each method needs: the protocol, the methods, the tables."""
