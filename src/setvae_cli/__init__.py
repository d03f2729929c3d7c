"""Set variational autoencoders for irregular clinical data."""
