"""How many interactions each method needs: the objects, the annotator, the methods, and the tables of it."""
