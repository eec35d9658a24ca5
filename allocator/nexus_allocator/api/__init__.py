"""Routes with their request and response models."""
