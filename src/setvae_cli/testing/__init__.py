"""What encoders of others are tested with; nothing heavy is imported before a rule is."""

CODES = 16  # of made-up subjects
