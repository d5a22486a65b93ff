"""The detector for strangers: learns on a park to read evidence of classes, and answers for networks of any graph."""
