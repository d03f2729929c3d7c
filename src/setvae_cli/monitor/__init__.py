"""Whether latents are in use: measured over a stream, judged by rules, changed by nobody here."""
