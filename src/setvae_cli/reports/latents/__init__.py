"""Pictures, a table and a page of a trained model's latents."""
