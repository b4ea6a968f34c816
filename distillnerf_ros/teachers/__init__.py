"""Foundation models: what features mean."""
