"""What a comparison of methods found: the table that decides, and what few labels are worth."""
