"""The report's sections: from results to what the templates show, plots drawn and numbers chosen."""
