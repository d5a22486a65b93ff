"""The report's plots, each from the arrays it shows to an ``<svg>`` element."""
